"""`schema`: for editors."""

from evomerge.cli.output import print_json


def schema() -> None:
    """Print the JSON schema of search files, with which editors complete and check them."""
    from evomerge.spec import SearchSpec

    content = SearchSpec.model_json_schema()
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **content})
