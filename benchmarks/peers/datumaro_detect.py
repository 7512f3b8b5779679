"""What Datumaro's format detection says of folders: run in an environment of its own (pip install datumaro).

    python benchmarks/peers/datumaro_detect.py FOLDER > formats.json

FOLDER holds one data set in each folder (`benchmarks/published.py --keep`). The answer is a list of formats for each:
none, one, or several that it cannot decide between.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from datumaro.components.environment import Environment


def main() -> None:
    """Print the formats of each folder as JSON."""
    environment = Environment()
    found = {}
    for folder in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir()):
        try:
            # As `datum detect-format` does by default, it looks two folders deep.
            found[folder.name] = [str(name) for name in environment.detect_dataset(str(folder), depth=2)]
        except Exception as error:
            found[folder.name] = [f"error: {type(error).__name__}"]
    json.dump(found, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
