"""ADE20K as SceneParsing publishes it (Zhou et al., Scene parsing through ADE20K dataset, CVPR 2017, arXiv 1608.05442).

    DATA/images/training/ADE_train_00000001.jpg          20,210 images
    DATA/annotations/training/ADE_train_00000001.png     0 unlabelled, 1..150 the classes
    DATA/images/validation/ADE_val_00000001.jpg          2,000 images
    DATA/annotations/validation/ADE_val_00000001.png
    DATA/objectInfo150.txt                               names: tab-separated, the number first, synonyms last

DATA is ADEChallengeData2016, or the folder above it. A class has the first of its synonyms as its name. Without
objectInfo150.txt the published first names are used.
"""

from __future__ import annotations

from pathlib import Path

from maskwright.datasets.classes import ClassTable, LabelClass
from maskwright.datasets.formats.layout import Layout, found, not_read, table_in
from maskwright.datasets.formats.pairing import check_pairs, files_in, paired_samples
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import Sample
from maskwright.datasets.texts import read_text
from maskwright.errors import ClassTableError
from maskwright.imaging.colors import default_color

_NAMES = """
wall; building; sky; floor; tree; ceiling; road; bed; windowpane; grass; cabinet; sidewalk; person; earth; door;
table; mountain; plant; curtain; chair; car; water; painting; sofa; shelf; house; sea; mirror; rug; field; armchair;
seat; fence; desk; rock; wardrobe; lamp; bathtub; railing; cushion; base; box; column; signboard; chest of drawers;
counter; sand; sink; skyscraper; fireplace; refrigerator; grandstand; path; stairs; runway; case; pool table;
pillow; screen door; stairway; river; bridge; bookcase; blind; coffee table; toilet; flower; book; hill; bench;
countertop; stove; palm; kitchen island; computer; swivel chair; boat; bar; arcade machine; hovel; bus; towel;
light; truck; tower; chandelier; awning; streetlight; booth; television; airplane; dirt track; apparel; pole; land;
bannister; escalator; ottoman; bottle; buffet; poster; stage; van; ship; fountain; conveyer belt; canopy; washer;
plaything; swimming pool; stool; barrel; basket; waterfall; tent; bag; minibike; cradle; oven; ball; food; step;
tank; trade name; microwave; pot; animal; bicycle; lake; dishwasher; screen; blanket; sculpture; hood; sconce; vase;
traffic light; tray; ashcan; fan; pier; crt screen; plate; monitor; bulletin board; shower; radiator; glass; clock;
flag
"""

_SPLITS = {"train": "training", "val": "validation"}


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read ADE20K; see `layout.Reader`.

    Raises
    ------
    PairingError
        An image has no mask, or a mask no image (noted in `problems`, if it is a list).
    ClassTableError
        objectInfo150.txt does not name the classes 1 to 150.
    """
    home = next((place for place in (root, root / "ADEChallengeData2016") if _is_home(place)), None)
    if home is None:
        return None
    samples: list[Sample] = []
    notes: list[str] = []
    for split, name in _SPLITS.items():
        if not (home / "images" / name).is_dir():
            continue
        images, more = files_in(home / "images" / name, problems)
        notes += more
        truth: dict[str, Path] = {}
        if masks:
            truth, more = files_in(home / "annotations" / name, problems)
            notes += more
            check_pairs(home / "images" / name, images, home / "annotations" / name, truth, problems)
        samples += paired_samples(images, truth if masks else None, split=split)
    return Layout(
        format="ADE20K",
        samples=tuple(samples),
        masks_folder=home / "annotations",
        table=table_in(root) or table_in(home),
        classes=_table(home / "objectInfo150.txt"),
        notes=(
            found(root, "ADE20K", samples, masks=masks),
            *notes,
            *not_read(home, (home / "images", home / "annotations")),
        ),
    )


def _is_home(place: Path) -> bool:
    """Whether the folders are there, with the published names in them, or the list of classes."""
    parts = [place / "images" / "training", place / "annotations" / "training"]
    parts = parts if parts[0].is_dir() else [place / "images" / "validation", place / "annotations" / "validation"]
    if not all(part.is_dir() for part in parts):
        return False
    return (place / "objectInfo150.txt").is_file() or next(parts[0].glob("ADE_*"), None) is not None


def _table(path: Path) -> ClassTable:
    names = _read_names(path) if path.is_file() else " ".join(_NAMES.split()).split("; ")
    return ClassTable(
        classes=tuple(
            LabelClass(name=name, color=default_color(index), values=(index + 1,)) for index, name in enumerate(names)
        ),
        unlabelled=(0,),
    )


def _read_names(path: Path) -> list[str]:
    rows = [line.split("\t") for line in read_text(path).splitlines() if line.strip()]
    names = {int(row[0]): row[-1].strip() for row in rows if row[0].strip().isdecimal()}
    if list(names) != list(range(1, len(names) + 1)) or len(names) < 2:
        raise ClassTableError(
            f"{path} names {len(names)} classes, not numbered from 1 on.",
            expected="Expected lines of number, ratio, counts and name, between tabs.",
            remedy="Copy the file again, or remove it.",
            file=path,
        )
    first = [name.split(",")[0].strip() for name in names.values()]
    return [short if first.count(short) == 1 else name for short, name in zip(first, names.values(), strict=True)]
