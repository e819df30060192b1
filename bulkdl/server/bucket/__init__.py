"""What is served as a bucket of Amazon S3, by anonymous requests in path style: `/bulkdl/KEY`."""
