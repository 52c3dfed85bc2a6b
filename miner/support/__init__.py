"""What all packages use: errors, files, locks, the console, communication between processes."""
