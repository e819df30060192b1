"""Read and validate DICOM files. The functions block, so they are called in threads or processes."""
