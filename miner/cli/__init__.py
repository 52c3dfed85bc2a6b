"""The command line: arguments, checks, sweeps, resuming."""
