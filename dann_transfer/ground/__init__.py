"""What everything else stands on: settings, random streams, notices, folders, processes."""
