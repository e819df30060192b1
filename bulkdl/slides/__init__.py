"""Whole-slide images: TIFF files of many sizes of one image, such as SVS and NDPI."""
