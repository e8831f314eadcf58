"""Where the data of a monitor come from, one file for each kind."""
