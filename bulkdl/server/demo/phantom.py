"""Generate the phantoms: head and body of three Patients at two times, with a growing tumour.

Each Study has a CT and a PET of head, chest and upper abdomen, T1 and T2 weighted MR of the head, and an RT Structure
Set and a Segmentation that refer to the CT. The files are identical, byte for byte, on every machine: the anatomy is
computed in integers, the noise is the raw output of PCG64 (which numpy guarantees, unlike its distributions), and UIDs
and dates are derived or fixed.

Source: PS3.3 §A.3, §A.4, §A.19, §A.21 and §A.51 for the contents of the objects. Values of tissues are rounded from
common figures (Hounsfield units; signal and uptake relative to each other) and are not suitable for measurements.
"""

import hashlib
import math
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite, uid
from pydicom.dataset import Dataset, FileMetaDataset

from bulkdl.server.demo.anatomy import UNITS_PER_MM, Anatomy, Ellipsoid, Grid, Tissue

_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # retired, but used by RT Structure Sets

# All UIDs here are UUIDs under 2.25 derived from it (PS3.5 §B.2).
_ROOT = uuid.UUID("6b1f3c52-6f0e-5f43-9d53-0a3a5b1c7e11")

_BODY_Z_MM = range(-408, 192, 12)
_HEAD_Z_MM = range(-30, 160, 10)
_CT_GRID = Grid(256, 900)  # 1.7578125 mm
_PET_GRID = Grid(128, 1800)
_MR_GRID = Grid(128, 1024)

# One number for each Tissue, in its order.
_HOUNSFIELD = (-1000, 40, -100, 55, 900, 250, 36, 28, 8, -820, 50, 45, 62, 52, 40, 25, -150, 48)
_T1_SIGNAL = (0, 320, 900, 350, 40, 520, 430, 560, 110, 30, 200, 360, 480, 380, 330, 250, 0, 300)
_T2_SIGNAL = (0, 300, 480, 260, 30, 300, 460, 330, 1000, 20, 150, 320, 260, 520, 560, 600, 0, 780)
_BECQUEREL_PER_ML = (0, 2600, 1200, 3000, 2800, 5600, 36000, 17000, 1500, 1900, 7600, 12500, 11000, 9200, 14000, 7000)
_UPTAKE = (*_BECQUEREL_PER_ML, 0, 52000)

_F18_HALF_LIFE_SECONDS = 6586.2
_INJECTED_BECQUEREL = 350_000_000


@dataclass(frozen=True, slots=True)
class _PhantomPatient:
    patient_id: str
    name: str
    sex: str
    birth_date: str
    age: str
    size_percent: int
    weight_kg: int
    site: str
    tumours: tuple[Ellipsoid, Ellipsoid]
    """One for each time point."""


@dataclass(frozen=True, slots=True)
class _PhantomSeries:
    """A Series of each Study: its images have these pixels, and are at these positions from feet to head.

    `values` has one for each Tissue. `echoes` are the repetition and echo times of MR in ms, and the echoes in a train.
    """

    sop_class: uid.UID
    modality: str
    name: str
    number: int
    grid: Grid = _CT_GRID
    z_mm: range = range(1)
    values: tuple[int, ...] = ()
    echoes: tuple[str, ...] = ()


_CT = _PhantomSeries(uid.CTImageStorage, "CT", "CT body", 1, _CT_GRID, _BODY_Z_MM, _HOUNSFIELD)
_PET = _PhantomSeries(uid.PositronEmissionTomographyImageStorage, "PT", "PET body", 2, _PET_GRID, _BODY_Z_MM, _UPTAKE)
_T1, _T2 = (
    _PhantomSeries(uid.MRImageStorage, "MR", name, number, _MR_GRID, _HEAD_Z_MM, values, echoes)
    for name, number, values, echoes in (
        ("MR T1 head", 3, _T1_SIGNAL, ("550", "12", "1")),
        ("MR T2 head", 4, _T2_SIGNAL, ("4200", "98", "9")),
    )
)
_STRUCTURES = _PhantomSeries(uid.RTStructureSetStorage, "RTSTRUCT", "Structures", 5)
_TUMOUR = _PhantomSeries(uid.SegmentationStorage, "SEG", "Tumour", 6)

_PATIENTS = (
    _PhantomPatient(
        *("PHANTOM-001", "Phantom^One", "F", "19440101", "057Y", 94, 61, "LUNG"),
        (Ellipsoid(Tissue.TUMOUR, -76, 0, -204, 13, 12, 14), Ellipsoid(Tissue.TUMOUR, -76, 0, -204, 21, 19, 22)),
    ),
    _PhantomPatient(
        *("PHANTOM-002", "Phantom^Two", "M", "19390101", "062Y", 104, 82, "LIVER"),
        (Ellipsoid(Tissue.TUMOUR, -86, -8, -348, 15, 14, 15), Ellipsoid(Tissue.TUMOUR, -86, -8, -348, 24, 23, 24)),
    ),
    _PhantomPatient(
        *("PHANTOM-003", "Phantom^Three", "O", "19520101", "049Y", 100, 74, "BRAIN"),
        (Ellipsoid(Tissue.TUMOUR, 34, -22, 96, 11, 13, 12), Ellipsoid(Tissue.TUMOUR, 34, -22, 96, 18, 20, 19)),
    ),
)
_STUDIES = (("20010305", "baseline", 0.0), ("20010604", "follow-up", 91.0))
_CONTOUR_POINTS = 36


def write_phantoms(folder: Path) -> None:
    """Write the collection as `folder`/Patient/Study/Series/*.dcm: about 850 files, 60 MB, replacing old ones."""
    for patient in _PATIENTS:
        for number in range(len(_STUDIES)):
            _write_study(folder, patient, number)


def _write_study(folder: Path, patient: _PhantomPatient, number: int) -> None:
    study = _PhantomStudy(patient, number)
    place = folder / patient.patient_id / f"STUDY-{number + 1}"
    compressed = patient is _PATIENTS[-1]
    ct = [_ct(study, index) for index in range(len(_CT.z_mm))]
    _write(place / "CT", ct)
    _write(place / "PET", [_pet(study, index) for index in range(len(_PET.z_mm))])
    _write(place / "T1", [_mr(study, _T1, index) for index in range(len(_HEAD_Z_MM))])
    _write(place / "T2", [_mr(study, _T2, index) for index in range(len(_HEAD_Z_MM))], compressed=compressed)
    _write(place / "RTSTRUCT", [_structure_set(study, ct)])
    _write(place / "SEG", [_segmentation(study, ct)])


def _write(place: Path, instances: list[Dataset], *, compressed: bool = False) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for index, instance in enumerate(instances, start=1):
        if compressed:
            instance.compress(uid.RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        dcmwrite(place / f"{index:03}.dcm", instance, enforce_file_format=True)


def _dataset(**values: object) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def _uid(*names: str) -> uid.UID:
    return uid.UID(f"2.25.{uuid.uuid5(_ROOT, '/'.join(names)).int}")


class _PhantomStudy:
    """A Patient at one time point, and the modules that all objects of the Study have."""

    def __init__(self, patient: _PhantomPatient, number: int) -> None:
        self.patient = patient
        self.date, self.name, self.offset_days = _STUDIES[number]
        self.body = Anatomy(patient.size_percent, patient.tumours[number])
        self.key = f"{patient.patient_id}/{self.date}"
        self.study_uid = _uid(self.key)
        self.frame_of_reference_uid = _uid(self.key, "frame of reference")

    def instance(self, series: _PhantomSeries, index: int) -> Dataset:
        """An object with the modules that all objects have, from Patient to SOP Common."""
        made = Dataset()
        made.SpecificCharacterSet = "ISO_IR 192"
        made.InstanceCreationDate = made.StudyDate = made.SeriesDate = made.StudyID = self.date
        made.InstanceCreationTime = "120000"
        made.SOPClassUID = series.sop_class
        made.SOPInstanceUID = _uid(self.key, series.name, str(index))
        made.StudyTime = "100000"
        made.SeriesTime = f"10{series.number:02}00"
        made.AccessionNumber = made.ReferringPhysicianName = made.PositionReferenceIndicator = ""
        made.Modality = series.modality
        made.Manufacturer = "bulkdl"
        made.StudyDescription = f"Head and body phantom, {self.name}"
        made.SeriesDescription = series.name
        made.ManufacturerModelName = "Phantom"
        made.PatientName = self.patient.name
        made.PatientID = self.patient.patient_id
        made.PatientBirthDate = self.patient.birth_date
        made.PatientSex = self.patient.sex
        made.QualityControlSubject = made.PatientIdentityRemoved = "YES"
        made.PatientAge = self.patient.age
        made.PatientSize = f"{1.75 * self.patient.size_percent / 100:.2f}"
        made.PatientWeight = str(self.patient.weight_kg)
        made.DeidentificationMethod = "made up"
        made.LongitudinalTemporalOffsetFromEvent = self.offset_days
        made.LongitudinalTemporalEventType = "ENROLLMENT"
        ctp = made.private_block(0x0013, "CTP", create=True)
        ctp.add_new(0x10, "LO", "BULKDL-PHANTOM")
        ctp.add_new(0x13, "LO", "99990001")
        made.DeviceSerialNumber = made.SoftwareVersions = "1"
        made.StudyInstanceUID = self.study_uid
        made.SeriesInstanceUID = _uid(self.key, series.name)
        made.FrameOfReferenceUID = self.frame_of_reference_uid
        made.SeriesNumber = str(series.number)
        made.InstanceNumber = str(index + 1)
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        made.file_meta.ImplementationClassUID = _uid("implementation")
        made.file_meta.ImplementationVersionName = "BULKDL_PHANTOM"
        return made

    def image(self, series: _PhantomSeries, index: int) -> Dataset:
        """An object that also has the modules General Image and Image Plane: 16 bits, no pixels."""
        made, grid, z_mm = self.instance(series, index), series.grid, series.z_mm[index]
        made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        made.AcquisitionDate = made.ContentDate = self.date
        made.AcquisitionTime = made.ContentTime = f"10{series.number:02}00"
        made.AcquisitionNumber = "1"
        made.PatientPosition = "HFS"
        made.SliceThickness = str(series.z_mm.step)
        first = f"{grid.first_units / UNITS_PER_MM}"
        made.ImagePositionPatient = [first, first, str(z_mm)]
        made.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
        made.SliceLocation = str(z_mm)
        made.PixelSpacing = [f"{grid.spacing_units / UNITS_PER_MM}"] * 2  # exact: a power of two divides it
        _describe_pixels(made, grid, bits=16)
        return made

    def slice_of(self, series: _PhantomSeries, index: int) -> NDArray[np.int32]:
        """A slice of the body with one value per tissue, and edges softened like those of a scanner."""
        labels = self.body.slice_at(series.z_mm[index] * UNITS_PER_MM, series.grid)
        return _soften(np.array(series.values, dtype=np.int32)[labels])

    def noise(self, series: _PhantomSeries, index: int) -> NDArray[np.int32]:
        """Bell-shaped noise, rows by columns, with standard deviation 1000."""
        seed = int.from_bytes(hashlib.sha256(f"{self.key}/{series.name}/{index}".encode()).digest()[:8], "big")
        raw = np.random.PCG64(seed).random_raw(series.grid.size * series.grid.size)
        bell = np.full(raw.shape, -1020, dtype=np.int32)  # the sum of eight bytes: mean 1020, deviation 209
        for shift in range(0, 64, 8):
            bell += (raw >> np.uint64(shift) & np.uint64(0xFF)).astype(np.int32)
        return (bell * 1000 // 209).reshape(series.grid.size, series.grid.size)


def _soften(image: NDArray[np.int32]) -> NDArray[np.int32]:
    """Average each pixel with its neighbours, 1-2-1 along rows and columns. The outermost pixels do not change."""
    softened = image.copy()
    softened[1:-1, :] = (image[:-2, :] + 2 * image[1:-1, :] + image[2:, :]) // 4
    across = softened.copy()
    across[:, 1:-1] = (softened[:, :-2] + 2 * softened[:, 1:-1] + softened[:, 2:]) // 4
    return across


def _describe_pixels(made: Dataset, grid: Grid, *, bits: int) -> None:
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.Rows = made.Columns = grid.size
    made.BitsAllocated = made.BitsStored = bits
    made.HighBit = bits - 1
    made.PixelRepresentation = int(bits > 1)  # signed, but for a mask


def _set_pixels(made: Dataset, image: NDArray[np.int32], low: int, high: int) -> None:
    made.PixelData = image.clip(low, high).astype("<i2").tobytes()


def _ct(study: _PhantomStudy, index: int) -> Dataset:
    made = study.image(_CT, index)
    made.BodyPartExamined = "WHOLEBODY"
    made.ProtocolName = "CT head to liver"
    made.ScanOptions = "HELICAL MODE"
    made.KVP = "120"
    made.DataCollectionDiameter = "500"
    made.ReconstructionDiameter = "450"
    made.ConvolutionKernel = "STANDARD"
    made.GantryDetectorTilt = "0"
    made.XRayTubeCurrent = "200"
    made.Exposure = "100"
    made.WindowCenter = "40"
    made.WindowWidth = "400"
    made.RescaleIntercept = "0"
    made.RescaleSlope = "1"
    made.RescaleType = "HU"
    _set_pixels(made, study.slice_of(_CT, index) + study.noise(_CT, index) * 14 // 1000, -1024, 3071)
    return made


def _mr(study: _PhantomStudy, series: _PhantomSeries, index: int) -> Dataset:
    made = study.image(series, index)
    made.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    made.BodyPartExamined = "HEAD"
    made.ProtocolName = series.name
    made.ScanningSequence = "SE"
    made.SequenceVariant = "SK"
    made.ScanOptions = ""
    made.MRAcquisitionType = "2D"
    made.RepetitionTime, made.EchoTime, made.EchoTrainLength = series.echoes
    made.MagneticFieldStrength = "1.5"
    made.FlipAngle = "90"
    made.SpacingBetweenSlices = str(_HEAD_Z_MM.step)
    made.WindowCenter = "450"
    made.WindowWidth = "900"
    noise = study.noise(series, index) * 18 // 1000
    _set_pixels(made, abs(study.slice_of(series, index) + noise), 0, 4095)
    return made


def _pet(study: _PhantomStudy, index: int) -> Dataset:
    made = study.image(_PET, index)
    made.ImageType = ["ORIGINAL", "PRIMARY"]
    made.BodyPartExamined = "WHOLEBODY"
    made.ProtocolName = "FDG PET head to liver"
    made.CollimatorType = "NONE"
    made.CorrectedImage = ["ATTN", "DECY", "SCAT", "RAN"]
    made.RescaleIntercept = "0"
    made.RescaleSlope = "2"
    made.WindowCenter = "15000"
    made.WindowWidth = "30000"
    fdg = _dataset(
        Radiopharmaceutical="Fluorodeoxyglucose",
        RadiopharmaceuticalStartTime="090000",
        RadionuclideTotalDose=str(_INJECTED_BECQUEREL),
        RadionuclideHalfLife=str(_F18_HALF_LIFE_SECONDS),
        RadionuclidePositronFraction="0.97",
        RadionuclideCodeSequence=[_code("77004003", "SCT", "^18^Fluorine")],
        RadiopharmaceuticalCodeSequence=[_code("35321007", "SCT", "Fluorodeoxyglucose F^18^")],
    )
    made.RadiopharmaceuticalInformationSequence = [fdg]
    made.PatientOrientationCodeSequence = [_code("102538003", "SCT", "recumbent")]
    made.PatientGantryRelationshipCodeSequence = [_code("102540001", "SCT", "headfirst")]
    made.SeriesType = ["WHOLE BODY", "IMAGE"]
    made.Units = "BQML"
    made.CountsSource = "EMISSION"
    made.RandomsCorrectionMethod = "DLYD"
    made.AttenuationCorrectionMethod = "measured, CT"
    made.DecayCorrection = "START"
    made.ReconstructionMethod = "made up"
    made.ScatterCorrectionMethod = "modelled"
    made.NumberOfSlices = len(_BODY_Z_MM)
    made.FrameReferenceTime = "90000"
    made.ActualFrameDuration = "180000"
    made.DecayFactor = "1"
    made.ImageIndex = index + 1
    activity = _soften(study.slice_of(_PET, index)) // 2  # softened twice, because PET is less sharp
    noise = study.noise(_PET, index)
    _set_pixels(made, activity + noise * (activity // 16 + 40) // 1000, 0, 32767)
    return made


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _dataset(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _reference(instance: Dataset) -> Dataset:
    return _dataset(ReferencedSOPClassUID=instance.SOPClassUID, ReferencedSOPInstanceUID=instance.SOPInstanceUID)


def _structure_set(study: _PhantomStudy, ct: list[Dataset]) -> Dataset:
    made = study.instance(_STRUCTURES, 0)
    made.OperatorsName = ""
    made.StructureSetLabel = "TUMOUR AND LIVER"
    made.StructureSetDate = study.date
    made.StructureSetTime = "120000"
    series = _dataset(
        SeriesInstanceUID=ct[0].SeriesInstanceUID, ContourImageSequence=[_reference(instance) for instance in ct]
    )
    referenced = _dataset(
        ReferencedSOPClassUID=_STUDY_CLASS,
        ReferencedSOPInstanceUID=study.study_uid,
        RTReferencedSeriesSequence=[series],
    )
    frame = _dataset(FrameOfReferenceUID=study.frame_of_reference_uid, RTReferencedStudySequence=[referenced])
    made.ReferencedFrameOfReferenceSequence = [frame]
    regions = (
        ("1", "Tumour", "GTV", ["255", "64", "64"], study.body.tumour),
        ("2", "Liver", "ORGAN", ["160", "96", "32"], study.body.liver),
    )
    made.StructureSetROISequence = [
        _dataset(
            ROINumber=number,
            ReferencedFrameOfReferenceUID=study.frame_of_reference_uid,
            ROIName=name,
            ROIGenerationAlgorithm="AUTOMATIC",
        )
        for number, name, *_ in regions
    ]
    made.ROIContourSequence = [
        _dataset(ROIDisplayColor=colour, ContourSequence=_contours(shape, ct), ReferencedROINumber=number)
        for number, _, _, colour, shape in regions
    ]
    made.RTROIObservationsSequence = [
        _dataset(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType=kind, ROIInterpreter="")
        for number, _, kind, *_ in regions
    ]
    made.ApprovalStatus = "UNAPPROVED"
    return made


def _contours(shape: Ellipsoid, ct: list[Dataset]) -> list[Dataset]:
    return [
        _dataset(
            ContourImageSequence=[_reference(instance)],
            ContourGeometricType="CLOSED_PLANAR",
            NumberOfContourPoints=str(len(outline) // 3),
            ContourData=outline,
        )
        for instance in ct
        if (outline := _outline(shape, instance))
    ]


def _outline(shape: Ellipsoid, instance: Dataset) -> list[str]:
    """The outline of an ellipsoid in the plane of an image: x, y, z of each point in mm; empty if it is outside."""
    z_mm = int(instance.ImagePositionPatient[2])
    within = 1 - ((z_mm - shape.z) / shape.rz) ** 2
    if within <= 0:
        return []
    scale = math.sqrt(within)
    outline = []
    for point in range(_CONTOUR_POINTS):
        angle = 2 * math.pi * point / _CONTOUR_POINTS
        x, y = shape.x + shape.rx * scale * math.cos(angle), shape.y + shape.ry * scale * math.sin(angle)
        outline += [f"{x:.2f}", f"{y:.2f}", str(z_mm)]  # two digits, which are equal on all machines
    return outline


def _segmentation(study: _PhantomStudy, ct: list[Dataset]) -> Dataset:
    masks = [study.body.tumour_at(z_mm * UNITS_PER_MM, _CT_GRID) for z_mm in _BODY_Z_MM]
    shown = [(instance, mask) for instance, mask in zip(ct, masks, strict=True) if mask.any()]
    made = study.instance(_TUMOUR, 0)
    made.ImageType = ["DERIVED", "PRIMARY"]
    made.ContentDate = study.date
    made.ContentTime = "120000"
    made.ContentLabel = "TUMOUR"
    made.ContentDescription = f"Tumour of the {study.patient.site.lower()}"
    made.ContentCreatorName = ""
    made.NumberOfFrames = str(len(shown))
    _describe_pixels(made, _CT_GRID, bits=1)
    made.LossyImageCompression = "00"
    made.SegmentationType = "BINARY"
    segment = _dataset(
        SegmentNumber=1,
        SegmentLabel="Tumour",
        SegmentAlgorithmType="AUTOMATIC",
        SegmentAlgorithmName="phantom",
        SegmentedPropertyCategoryCodeSequence=[_code("49755003", "SCT", "Morphologically Abnormal Structure")],
        SegmentedPropertyTypeCodeSequence=[_code("108369006", "SCT", "Neoplasm")],
    )
    made.SegmentSequence = [segment]
    made.ReferencedSeriesSequence = [
        _dataset(
            SeriesInstanceUID=ct[0].SeriesInstanceUID,
            ReferencedInstanceSequence=[_reference(instance) for instance, _ in shown],
        )
    ]
    organization_uid = _uid(study.key, "dimensions")
    made.DimensionOrganizationSequence = [_dataset(DimensionOrganizationUID=organization_uid)]
    made.DimensionIndexSequence = [
        _dimension(organization_uid, 0x0062000B, 0x0062000A),  # Referenced Segment Number
        _dimension(organization_uid, 0x00200032, 0x00209113),  # Image Position (Patient)
    ]
    made.SharedFunctionalGroupsSequence = [_shared_groups(ct[0])]
    made.PerFrameFunctionalGroupsSequence = [
        _frame_groups(instance, position) for position, (instance, _) in enumerate(shown, start=1)
    ]
    bits = np.packbits(np.stack([mask for _, mask in shown]).ravel(), bitorder="little").tobytes()
    made.PixelData = bits + b"\0" * (len(bits) % 2)
    return made


def _dimension(organization_uid: uid.UID, pointer: int, group: int) -> Dataset:
    return _dataset(
        DimensionOrganizationUID=organization_uid, DimensionIndexPointer=pointer, FunctionalGroupPointer=group
    )


def _shared_groups(image: Dataset) -> Dataset:
    measures = _dataset(
        SliceThickness=image.SliceThickness, SpacingBetweenSlices=image.SliceThickness, PixelSpacing=image.PixelSpacing
    )
    orientation = _dataset(ImageOrientationPatient=image.ImageOrientationPatient)
    return _dataset(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[orientation])


def _frame_groups(image: Dataset, position: int) -> Dataset:
    source = _reference(image)
    source.PurposeOfReferenceCodeSequence = [_code("121322", "DCM", "Source image for image processing operation")]
    segmentation = _code("113076", "DCM", "Segmentation")
    return _dataset(
        DerivationImageSequence=[_dataset(SourceImageSequence=[source], DerivationCodeSequence=[segmentation])],
        FrameContentSequence=[_dataset(DimensionIndexValues=[1, position])],
        PlanePositionSequence=[_dataset(ImagePositionPatient=image.ImagePositionPatient)],
        SegmentIdentificationSequence=[_dataset(ReferencedSegmentNumber=1)],
    )
