"""The worker pool: from what is owed to what is held."""
