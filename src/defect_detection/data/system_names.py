"""Names of files and folders that operating systems and tools create among a user's own."""

import re

# Compared without regard to case. Names that start with a dot are hidden, and so left out without being listed here.
_FOLDERS = frozenset(
    {
        # Windows
        "$recycle.bin", "recycler", "recycled", "recycle.bin", "system volume information", "config.msi", "msocache",
        "$extend", "$windows.~bt", "$winreagent",
        # macOS
        "__macosx", "network trash folder", "temporary items", "thevolumesettingsfolder",
        # Synology, QNAP, Asustor, Netgear, Buffalo, NetApp
        "@eadir", "#recycle", "#snapshot", "@tmp", "@sharebin", "@recycle", "@recently-snapshot", "@transcode",
        "@appstore", "@database", "@autoupdate", "@download", "@upload_cache", "@quarantine", "@syncthing",
        "recycle bin", "trashbox", "~snapshot", "$snapshot", "@snapshots", "@s2s", "@cloudsync", "@img_bkp_cache",
        "@recyclebin", "#sharedrecycle", "$trash",
        # Linux, tools
        "lost+found", "__pycache__", "node_modules", "_gsdata_", "_vti_cnf",
    }
)  # fmt: skip
_FILES = frozenset(
    {
        "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "picasa.ini", "zbthumbnail.info",
        "wpsettings.dat", "indexervolumeguid", "aquota.user", "aquota.group", "desktop db", "desktop df",
    }
)  # fmt: skip
_FOLDER_PATTERN = re.compile(r"found\.\d{3}|@synology.*|@syno(?:drive|finder).*", re.DOTALL)
_FILE_PATTERN = re.compile(
    r"~\$.*|.*@syno(?:eastream|resource)|thumbs\.db[:.].*|.*:(?:zone\.identifier|afp_\w+|smarttagsstream)(?::\$data)?",
    re.DOTALL,
)  # office locks, streams


def is_system_folder(name: str) -> bool:
    """Check for a system folder: a recycle bin, thumbnails, a snapshot."""
    folded = name.casefold()
    return folded in _FOLDERS or _FOLDER_PATTERN.fullmatch(folded) is not None


def is_system_file(name: str) -> bool:
    """Check for a system file: thumbnails, settings of a folder, a lock."""
    folded = name.casefold()
    return folded in _FILES or _FILE_PATTERN.fullmatch(folded) is not None


def is_hidden(name: str) -> bool:
    """Check for a leading dot, as in macOS companion files (``._``), trash folders and version control."""
    return name.startswith(".")
