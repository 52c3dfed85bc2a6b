"""What a set of runs says together: which settings differ, and what each is worth."""
