"""A stand-in for the Hugging Face hub: the few answers of its interface that reading a model needs."""

from collections.abc import Mapping

from ranged_server import Handler, Served

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def publish(
    served: Served, repository: str, files: Mapping[str, bytes], *, commit: str = COMMIT, stored: Served | None = None
) -> None:
    """Publish files under the main branch of a repository; another server may store them, to which this one leads."""
    named = [{"rfilename": name} for name in files]
    information = {"id": repository, "modelId": repository, "sha": commit, "siblings": named}

    def inform(handler: Handler) -> bool:
        return handler.give_json(information)

    for revision in ("", "/revision/main", f"/revision/{commit}"):
        served.answers[f"/api/models/{repository}{revision}"] = inform
    for name, content in files.items():
        path = f"/{repository}/resolve/{commit}/{name}"
        (stored or served).files[path] = content
        if stored is not None:
            served.answers[path] = lambda handler, url=stored.url + path: handler.lead_to(url)
