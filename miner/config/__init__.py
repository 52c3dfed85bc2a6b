"""The configuration: its schema, the objects it stands for, and the job it belongs to."""
