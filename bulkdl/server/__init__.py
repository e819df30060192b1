"""The embedded archive: a mirror, or any folder of DICOM files, served through the archives' own APIs."""
