"""What runs a monitor: reading its data, judging its windows, telling of alarms."""
