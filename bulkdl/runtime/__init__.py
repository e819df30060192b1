"""Tasks, retries, limits, processes and the rules of the disk, independent of DICOM and HTTP."""
