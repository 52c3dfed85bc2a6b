"""What all packages use: errors, files, this process, communication between processes."""
