"""The worker pool: download the instances that a mirror owes."""
