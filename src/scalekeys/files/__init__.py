"""Files: written whole or not at all, and read only where they are regular files."""

from scalekeys.files.reading import (
    exists,
    expanded,
    is_file,
    is_folder,
    is_plain_name,
    open_regular,
    parse_json,
    read_bytes,
    read_text,
    reading_from,
)
from scalekeys.files.writing import (
    check_new_file,
    check_new_folder,
    check_no_source,
    clear_leftovers,
    held_folder,
    new_file,
    new_files,
    new_folder,
    remove_file,
    writing_to,
)

__all__ = [
    "check_new_file",
    "check_new_folder",
    "check_no_source",
    "clear_leftovers",
    "exists",
    "expanded",
    "held_folder",
    "is_file",
    "is_folder",
    "is_plain_name",
    "new_file",
    "new_files",
    "new_folder",
    "open_regular",
    "parse_json",
    "read_bytes",
    "read_text",
    "reading_from",
    "remove_file",
    "writing_to",
]
