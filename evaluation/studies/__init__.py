"""Single studies of a run, for readers of patient-level content: what is kept of them, and how they are found."""
