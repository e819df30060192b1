"""The catalogue of the demonstration archive: sample files of installed packages, and phantoms made on this machine.

The sample files are part of pydicom and of pydicom-data (an extra). The phantoms need numpy and are made once, in a
cache. The tables here assign files to Collections by their paths. If several files hold the same instance, files of
pydicom take precedence over those of pydicom-data.

Sources: the README files of the packages state the origins and licences of the scans. Both packages are distributed
under the MIT licence, and contain data from others.
"""

import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from bulkdl.errors import DiskError
from bulkdl.model.data_sets import TEST_PREFIX
from bulkdl.server.catalogue import About, Catalogue, Root, ScanReport
from bulkdl.server.pathdb.slides import ServedSlide, slide_in

PHANTOM_COLLECTION: Final = "BULKDL-PHANTOM"
_YEAR: Final = 2026


def _of_package(
    package: tuple[str, str, str], collection: str, only: tuple[str, ...], description: str, origin: str = ""
) -> Root:
    """A Collection of sample files, below the folder of its package."""
    home, branch, authors = package
    about = About(
        description=f"{description} {origin} From {home}".strip(),
        citation=_citation(authors, collection),
        license_name="MIT License",
        license_uri=f"{home}/blob/{branch}/LICENSE",
        collection_uri=_made_up_doi(collection),
    )
    return Root(Path(), collection, about, only)


def _made_up_doi(collection: str) -> str:
    """The address of a DOI that does not exist: without one, a Collection would not be among those of DataCite.

    Its prefix is the one that DataCite keeps for tests, so it never meets a real one.
    """
    return f"https://doi.org/{TEST_PREFIX}/bulkdl.demo.{collection.lower()}"


def _citation(authors: str, collection: str) -> str:
    """The citation of a Collection, in the form of TCIA's."""
    address = _made_up_doi(collection)
    return f"{authors} ({_YEAR}). {collection} [Data set]. Demonstration archive of bulkdl. {address}"


_of_pydicom = partial(
    _of_package,
    ("https://github.com/pydicom/pydicom", "main", "Mason, D., & The pydicom contributors"),
)
_of_pydicom_data = partial(
    _of_package, ("https://github.com/pydicom/pydicom-data", "master", "The pydicom contributors")
)
_TESTS: Final = "test_files/"

_PYDICOM: Final = (
    _of_pydicom(
        "PYDICOM-UNSOUND",
        (f"{_TESTS}dicomdirtests/TINY_ALPHA/*", "charset_files/chrJapMulti*", "charset_files/chrKoreanMulti*"),
        "Instances of image classes without pixel data, for pydicom's tests. They are served like all others, but "
        "are invalid: mirroring them needs --accept-unsound.",
    ),
    _of_pydicom(
        "PYDICOM-DICOMDIR",
        (f"{_TESTS}dicomdirtests/*",),
        "CR, CT and MR of two Patients, several Studies and Series each, reduced to 16 x 16 pixels.",
        "Scans of https://www.pcir.org, freely available image sets.",
    ),
    _of_pydicom(
        "PYDICOM-CHARSETS",
        ("charset_files/*",),
        "One Patient for each of many character sets; test patterns, 32 x 32 pixels.",
        "Clunie, D. http://www.dclunie.com/images/charset/.",
    ),
    _of_pydicom(
        "PYDICOM-RT-SR-ECG",
        tuple(_TESTS + name for name in ("rt*", "badVR.dcm", "reportsi*", "test-SR.dcm", "liver*", "waveform_ecg.dcm")),
        "Objects other than single images: radiotherapy plan and dose, structured reports, a segmentation, a "
        "12-lead ECG.",
        "Segmentation: Fedorov, A. https://github.com/qiicr/dcmqi. Reports: OFFIS e.V., https://dcmtk.org.",
    ),
    _of_pydicom(
        "PYDICOM-SECONDARY",
        (f"{_TESTS}SC_*",),
        "Secondary captures in colour, in many transfer syntaxes.",
        "Files named SC_jpeg_no_color_transform: tiles of TCGA slides, obtained from TCIA.",
    ),
    _of_pydicom(
        "PYDICOM-IMAGES",
        (f"{_TESTS}*",),
        "Small CT, MR, NM and US images in a dozen transfer syntaxes.",
        "Some of ftp://medical.nema.org/MEDICAL/Dicom/DataSets/WG04/, of GDCM (BSD licence), of "
        "http://www.barre.nom.fr/medical/samples/.",
    ),
)

_PANCREAS: Final = About(
    description="One slice of TCIA's Collection; most of its attributes have the VR UN.",
    citation=(
        "Roth, H., Farag, A., Turkbey, E. B., Lu, L., Liu, J., & Summers, R. M. (2016). Data From Pancreas-CT "
        "[Data set]. The Cancer Imaging Archive. https://doi.org/10.7937/K9/TCIA.2016.tNB1kqBU"
    ),
    license_name="Creative Commons Attribution 3.0 Unported License",
    license_uri="https://creativecommons.org/licenses/by/3.0/",
    collection_uri="https://doi.org/10.7937/K9/TCIA.2016.tNB1kqBU",
)
_PYDICOM_DATA: Final = (
    Root(Path(), "Pancreas-CT", _PANCREAS, ("explicit_VR-UN.dcm",)),
    _of_pydicom_data(
        "PYDICOM-DATA-WG04",
        ("MR2_*", "RG1_*", "RG3_*", "US1_*", "JPEG*", "JPGLossless*"),
        "Full-size CR, MR, NM and US images, uncompressed and in JPEG 2000.",
        "ftp://medical.nema.org/MEDICAL/Dicom/DataSets/WG04/.",
    ),
    _of_pydicom_data(
        "PYDICOM-DATA-MULTIFRAME",
        ("eCT_*", "emri_*", "liver*", "color*", "OBXXXX1A*", "gdcm-US-*"),
        "Enhanced CT and MR, a segmentation, and loops of ultrasound: many frames in one instance.",
        "eCT_Supplemental: ftp://medical.nema.org/medical/dicom/Multiframe/CT/. gdcm-US-ALOKA-16: GDCM (BSD "
        "licence). Segmentation: Fedorov, A. https://github.com/qiicr/dcmqi.",
    ),
    _of_pydicom_data("PYDICOM-DATA-OTHER", ("*",), "Other full-size files for pydicom's tests."),
)

_PHANTOMS: Final = About(
    description=(
        "A synthetic head and body: CT, MR and PET of several Patients at several times, with RT Structure Sets and "
        "Segmentations that refer to them. Generated on this machine, with the same bytes on every machine."
    ),
    citation=_citation("The bulkdl contributors", PHANTOM_COLLECTION),
    license_name="CC0 1.0 Universal",
    license_uri="https://creativecommons.org/publicdomain/zero/1.0/",
    collection_uri=_made_up_doi(PHANTOM_COLLECTION),
)


def demo_catalogue(cache: Path, *, progress: Callable[[int], None] | None = None) -> tuple[Catalogue, ScanReport]:
    """Open the catalogue of the demonstration archive and bring it up to date. Returns it with the report of the scan.

    The first call takes some seconds. `cache` is a folder for the catalogue and the phantoms. Several processes may
    share it; installations with samples in different folders use different catalogues. `progress` is called with the
    number of files seen so far.

    Raises:
        DiskError: the cache cannot be written.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        roots = demo_roots(cache)
    except OSError as error:
        raise DiskError(f"cannot create the demonstration archive in {cache}: {error.strerror or error}") from error
    places = "\0".join(str(root.path.absolute()) for root in roots)
    catalogue = Catalogue.open(cache / f"demo-{hashlib.blake2b(os.fsencode(places), digest_size=8).hexdigest()}.sqlite")
    try:
        return catalogue, catalogue.scan(roots, progress=progress)
    except BaseException:
        catalogue.close()
        raise


def demo_roots(cache: Path) -> list[Root]:
    """The roots of the demonstration archive, one per Collection. Generates missing phantoms.

    Raises:
        OSError: the phantoms cannot be written.
    """
    samples = ((samples_of("pydicom"), _PYDICOM), (samples_of("data_store"), _PYDICOM_DATA))
    roots = [replace(root, path=folder) for folder, found in samples if folder is not None for root in found]
    if (phantoms := _phantoms(cache)) is not None:
        roots.append(Root(phantoms, PHANTOM_COLLECTION, _PHANTOMS))
    return roots


def demo_slides(cache: Path) -> list[ServedSlide]:
    """The slides of the demonstration archive, which are made if the cache does not have them.

    Raises:
        DiskError: the cache cannot be written.
    """
    from bulkdl.server.demo.slides import DEMO_SLIDES, write_demo_slides  # noqa: PLC0415 - late: for demonstrations

    try:
        cache.mkdir(parents=True, exist_ok=True)
        folder = _made_once(cache, "slides", ("slides.py",), write_demo_slides)
        return [
            slide_in(folder / each.file_name, PHANTOM_COLLECTION, each.patient_id, each.slide_id)
            for each in DEMO_SLIDES
        ]
    except OSError as error:
        raise DiskError(f"cannot create the demonstration archive in {cache}: {error.strerror or error}") from error


def samples_of(package: str) -> Path | None:
    """The folder `data` of an installed package; None without one. The package is not imported.

    `data_store` is the module of pydicom-data, an extra (`bulkdl[demo]`).
    """
    found = importlib.util.find_spec(package)  # imports nothing, for a top-level package
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "data"
    return folder if folder.is_dir() else None


def _phantoms(cache: Path) -> Path | None:
    """The folder of the phantoms; None without numpy where it is not in the cache."""
    sources = ("anatomy.py", "phantom.py")
    if importlib.util.find_spec("numpy") is None:
        folder = _made_folder(cache, "phantoms", sources)
        return folder if folder.is_dir() else None
    return _made_once(cache, "phantoms", sources, _write_phantoms)


def _write_phantoms(folder: Path) -> None:
    from bulkdl.server.demo.phantom import write_phantoms  # noqa: PLC0415 - needs numpy, an extra

    write_phantoms(folder)


def _made_folder(cache: Path, kind: str, sources: tuple[str, ...]) -> Path:
    """The folder of files that are made on this machine: changed sources of what makes them make new files."""
    content = b"".join(Path(__file__).with_name(name).read_bytes() for name in sources)
    return cache / f"{kind}-{hashlib.blake2b(content, digest_size=8).hexdigest()}"


def _made_once(cache: Path, kind: str, sources: tuple[str, ...], make: Callable[[Path], None]) -> Path:
    """That folder, whose files are made if the cache does not have them. It gets its name when it is complete."""
    folder = _made_folder(cache, kind, sources)
    if folder.is_dir():
        return folder
    made = Path(tempfile.mkdtemp(prefix=f"{kind}-incomplete-", dir=cache))
    try:
        make(made)
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():  # unless another process was faster
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    for old in cache.glob(f"{kind}-????????????????"):
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)
    return folder
