"""The images of a release as DICOM objects that say what they are: computed pictures of nobody.

Secondary Capture, not Digital X-Ray: an object of the latter claims a detector, an exposure and a patient in front of
them. ``ConversionType`` SYN (synthetic image) and ``SyntheticData`` YES are the standard's own words for these.
``PatientIdentityRemoved`` is left out: YES would say that there was a person whose identity was taken away.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import CohortError
from synthetic.generators.studies import LinkedStudies
from synthetic.release.facts import ReleaseFacts
from synthetic.release.naming import MARK, dicom_path, has_image, moment_of, uid_of

IMPLEMENTATION_VERSION = "AUSCULT_1"
METHOD = "SYNTHETIC: no real person"
COMMENT = "SYNTHETIC: computed image. It shows no real person and must not be used for the care of one."
SEX = {"F": "F", "M": "M", "O": "O"}
OLDEST = 999
"""Years that the value representation AS can hold."""


def write_images(studies: LinkedStudies, root: Path, facts: ReleaseFacts, *, tell: Callable[[float], None]) -> None:
    """Write ``dicom/PATIENT/STUDY.dcm`` below ``root`` for each study that has an image. Equal input, equal bytes.

    Raises:
        CohortError: the images are not grey with 8 bits.
    """
    assert studies.images is not None
    if studies.images.dtype.name != "uint8" or studies.images.ndim != 3:
        raise CohortError("The images are not grey with 8 bits.", remedy="Give uint8 [n, rows, columns].")
    for row, visit in enumerate(studies.visits().tolist(), start=0):
        if has_image(studies, row):
            path = root / dicom_path(studies.patient_ids[row], studies.study_ids[row])
            path.parent.mkdir(parents=True, exist_ok=True)
            image_object(studies, row, facts, number=visit + 1).save_as(path, enforce_file_format=True)
        if row % 100 == 99:
            tell((row + 1) / len(studies))


def image_object(studies: LinkedStudies, row: int, facts: ReleaseFacts, *, number: int) -> Any:
    """The DICOM object of one study (``pydicom.Dataset``).

    Args:
        number: Of the study among those of its patient, from 1.
    """
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    study, origin = studies.study_ids[row], facts.origin
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID = SecondaryCaptureImageStorage
    made.SOPInstanceUID = uid_of(origin, "image", study)
    made.StudyInstanceUID = uid_of(origin, "study", study)
    made.SeriesInstanceUID = uid_of(origin, "series", study)
    made.update(_described(facts, study, number))
    made.update(_patient(studies, row))
    made.update(_pixels(studies, row))
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.ImplementationClassUID = uid_of("", "implementation", IMPLEMENTATION_VERSION)
    made.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    return made


def _described(facts: ReleaseFacts, study: str, number: int) -> Any:
    """What it is, where it comes from, and that it is synthetic: said wherever a viewer might look."""
    from pydicom import Dataset

    made = Dataset()
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.ConversionType = "SYN"
    made.SyntheticData = "YES"
    made.ContentQualification = "RESEARCH"
    made.BurnedInAnnotation = "NO"
    made.DerivationDescription = f"{MARK}: made by generator sha256:{facts.generator.digest}"
    made.ImageComments = COMMENT
    made.StudyDescription = made.SeriesDescription = MARK
    made.PatientComments = COMMENT
    made.DeidentificationMethod = METHOD
    made.Modality = facts.modality
    made.BodyPartExamined = facts.body_part
    made.Manufacturer = f"{MARK} (Auscult)"
    made.ManufacturerModelName = f"generator {facts.generator.digest[:8]}"
    made.StudyID = str(number)
    made.AccessionNumber = made.ReferringPhysicianName = made.Laterality = made.PatientOrientation = ""
    made.SeriesNumber = made.InstanceNumber = 1
    return made


def _patient(studies: LinkedStudies, row: int) -> Any:
    from pydicom import Dataset

    made = Dataset()
    patient, moment = studies.patient_ids[row], moment_of(studies.times[row])
    made.PatientID = patient
    made.PatientName = f"{MARK}^{patient}"
    made.PatientBirthDate = ""
    made.PatientSex = SEX.get(str(_attribute(studies, "sex", row)), "")
    years = _attribute(studies, "age", row)
    if isinstance(years, int | float) and 0 <= years <= OLDEST:
        made.PatientAge = f"{int(years):03d}Y"
    made.StudyDate = moment.strftime("%Y%m%d") if moment else ""
    made.StudyTime = moment.strftime("%H%M%S") if moment else ""
    made.TimezoneOffsetFromUTC = "+0000"
    return made


def _attribute(studies: LinkedStudies, name: str, row: int) -> Any:
    values = studies.attributes.get(name)
    return None if values is None else getattr(values[row], "item", lambda: values[row])()


def _pixels(studies: LinkedStudies, row: int) -> Any:
    from pydicom import Dataset

    assert studies.images is not None
    pixels = studies.images[row]
    made = Dataset()
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.Rows, made.Columns = (int(side) for side in pixels.shape)
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    made.WindowCenter, made.WindowWidth = 128, 256
    data = pixels.tobytes()
    made.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))
    return made
