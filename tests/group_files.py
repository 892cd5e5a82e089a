"""Trees of files as control groups show themselves."""

SECOND = {"self": "0::/kube/pod/main\n"}


def first(controllers):
    """What a process in a container of version 1 finds of its groups."""
    return {"self": f"5:devices:/a\n4:{controllers}:/docker/abc\n0::/\n"}


def written(folder, files):
    """Write a tree of names and texts."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
