"""Draws the diagrams of the methods' pages: python docs/diagrams.py writes docs/pictures/METHOD.svg."""

import pathlib
from collections.abc import Iterator

OUTPUT = pathlib.Path(__file__).parent / "pictures"
COLUMN, ROW, WIDTH, HEIGHT, MARGIN = 172, 84, 132, 46, 14  # pixels
FILLS = {"source": "#cfe8d5", "target": "#cfdcf2", "network": "#ececec", "loss": "#fbe3c0", "made": "#e6d8f0"}

# A box is (column, row, kind, title, second line); an arrow leads from one box to another, FROM-TO.
_SOURCE = {"source": (0, 0, "source", "source", "image, label")}
_TARGET = {"target": (0, 2, "target", "target", "image")}
_PSEUDO = {"pseudo": (2, 2, "made", "pseudo labels", "and their weight")}
_STUDENT = {"student": (3, 1, "network", "student", "F, C"), "L": (4, 1, "loss", "cross entropy", "with the labels")}

DIAGRAMS = {
    "fada": (
        {
            **_SOURCE,
            **_TARGET,
            "F": (1, 1, "network", "F", "features"),
            "C": (2, 0, "network", "C", "classes"),
            "D": (2, 2, "network", "D", "domain and class"),
            "seg": (3, 0, "loss", "L_seg", "source labels"),
            "know": (3, 1, "made", "class knowledge", "softmax(C / T)"),
            "adv": (4, 1, "loss", "L_adv: D should", "say “source”"),
            "dis": (4, 2, "loss", "L_D: D should", "be right"),
        },
        "source-F target-F F-C F-D C-seg C-know D-adv D-dis know-adv know-dis",
    ),
    "binary_adversarial": (
        {
            **_SOURCE,
            **_TARGET,
            "F": (1, 1, "network", "F", "features"),
            "C": (2, 0, "network", "C", "classes"),
            "D": (2, 2, "network", "D", "domain alone"),
            "seg": (3, 0, "loss", "L_seg", "source labels"),
            "adv": (3, 1, "loss", "L_adv: D should", "say “source”"),
            "dis": (3, 2, "loss", "L_D: D should", "be right"),
        },
        "source-F target-F F-C F-D C-seg D-adv D-dis",
    ),
    "self_distillation": (
        {
            "target": (0, 0, "target", "target", "image"),
            "old": (1, 0, "network", "adapted run", "F, C, as trained"),
            "labels": (2, 0, "made", "pseudo labels", "stored as records"),
            "same": (0, 1, "target", "target", "image"),
            "new": (2, 1, "network", "new F, C", "from ImageNet"),
            "L": (3, 1, "loss", "L_seg", "pseudo labels"),
        },
        "target-old old-labels same-new new-L labels-L",
    ),
    "dacs": (
        {
            **_SOURCE,
            **_TARGET,
            "teacher": (1, 2, "network", "teacher", "mean of students"),
            **_PSEUDO,
            "mix": (2, 1, "made", "mix", "half the classes"),
            **_STUDENT,
        },
        "source-mix target-teacher teacher-pseudo pseudo-mix mix-student student-L target-mix",
    ),
    "mic": (
        {
            **_SOURCE,
            **_TARGET,
            "teacher": (1, 2, "network", "teacher", "mean of students"),
            **_PSEUDO,
            "mix": (2, 0, "made", "mix", "as in DACS"),
            "mask": (2, 1, "made", "masked target", "blocks are hidden"),
            **_STUDENT,
        },
        "source-mix target-teacher teacher-pseudo target-mask mix-student mask-student student-L pseudo-L target-mix",
    ),
    "source_free": (
        {
            "target": (0, 1, "target", "target", "pairs of images"),
            "teacher": (1, 2, "network", "teacher", "a trained segmenter"),
            **_PSEUDO,
            "mix": (2, 0, "made", "mix", "of the pair"),
            "mask": (2, 1, "made", "masked", "blocks are hidden"),
            **_STUDENT,
        },
        "target-teacher teacher-pseudo target-mask target-mix mix-student mask-student student-L pseudo-L",
    ),
}


def svg(boxes: dict[str, tuple], arrows: str) -> str:
    """Returns a diagram of boxes on a grid, with arrows between them."""
    columns, rows = (max(box[axis] for box in boxes.values()) + 1 for axis in (0, 1))
    width, height = (columns - 1) * COLUMN + WIDTH + 2 * MARGIN, (rows - 1) * ROW + HEIGHT + 2 * MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        'font-size="12" text-anchor="middle">\n'
        '<rect width="100%" height="100%" fill="white"/>\n'
        '<marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#555"/></marker>'
    )
    lines = [
        head,
        *(_arrow(*(boxes[name] for name in arrow.split("-"))) for arrow in arrows.split()),
        *(line for box in boxes.values() for line in _box(*box)),
    ]
    return "\n".join([*lines, "</svg>\n"])


def _box(column: int, row: int, kind: str, text: str, more: str) -> Iterator[str]:
    left, top = MARGIN + column * COLUMN, MARGIN + row * ROW
    yield f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{FILLS[kind]}" stroke="#888"/>'
    yield f'<text x="{left + WIDTH // 2}" y="{top + 20}" font-weight="bold">{text}</text>'
    yield f'<text x="{left + WIDTH // 2}" y="{top + 36}">{more}</text>'


def _arrow(start: tuple, end: tuple) -> str:
    (x1, y1), (x2, y2) = ((MARGIN + box[0] * COLUMN, MARGIN + box[1] * ROW + HEIGHT // 2) for box in (start, end))
    if start[0] == end[0]:  # one above the other
        x1, x2, down = x1 + WIDTH // 2, x2 + WIDTH // 2, 1 if y2 > y1 else -1
        y1, y2 = y1 + down * HEIGHT // 2, y2 - down * HEIGHT // 2
    else:
        x1 += WIDTH
    return f'<path d="M{x1} {y1}L{x2} {y2}" stroke="#555" fill="none" marker-end="url(#tip)"/>'


def main() -> None:
    """Writes all diagrams."""
    OUTPUT.mkdir(exist_ok=True)
    for name, (boxes, arrows) in DIAGRAMS.items():
        (OUTPUT / f"{name}.svg").write_text(svg(boxes, arrows))


if __name__ == "__main__":
    main()
