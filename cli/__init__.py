"""People in, people out: the command line."""
