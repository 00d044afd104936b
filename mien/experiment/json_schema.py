"""The JSON schema of experiment files, for editors."""

from typing import Any

from mien.audit import FLAGS
from mien.experiment.merging import NAMED
from mien.experiment.schema import OPS, Experiment, monitors
from mien.registry import entry, names
from mien.tasks import EXPRESSION


def json_schema() -> dict[str, Any]:
    """The JSON schema of an experiment file, with every registered component, for editors.

    Nothing is required in it, since a file that extends another holds only differences.
    """
    schema = Experiment.model_json_schema()
    definitions = schema["$defs"]
    for kind in ("protocol", "model", "loss", "optimizer", "schedule", "op"):
        for name in names(kind):
            own = entry(kind, name).spec.model_json_schema()
            definitions.update(own.pop("$defs", {}))
            definitions[f"{kind}_{name}"] = own
    for key, kind in NAMED.items():
        choices: list[dict[str, Any]] = [{"$ref": f"#/$defs/{kind}_{name}"} for name in names(kind)]
        schema["properties"][key] = {"anyOf": [{"enum": names(kind)}, *choices]}
    schema["properties"]["task"] |= {"enum": names("task"), "default": EXPRESSION}
    definitions["TrainSection"]["properties"]["monitor"]["enum"] = monitors()
    # A protocol may stand in a file, and have flags.
    file = {"type": "string", "pattern": r"\.ya?ml$", "description": "A file beside this one that holds a protocol."}
    schema["properties"]["protocol"]["anyOf"] += [
        file,
        {"type": "object", "properties": {"name": file}, "required": ["name"]},
    ]
    schema["properties"]["tta"]["enum"] = ["none", *names("tta")]
    suspects = {"type": "string", "pattern": r"\.csv$", "description": "Likely label errors, by mien suspects."}
    flags = {"type": "array", "items": {"anyOf": [{"enum": list(FLAGS)}, suspects]}}
    schema["properties"]["exclude"] = flags
    for name in names("protocol"):
        definitions[f"protocol_{name}"]["properties"]["exclude"] = flags
    for key in OPS:
        choices = [{"$ref": f"#/$defs/op_{name}"} for name in names("op")]
        schema["properties"][key] = {"type": "array", "items": {"anyOf": choices}}
    dataset = schema["properties"]["dataset"]
    schema["properties"]["dataset"] = {"anyOf": [{"type": "string"}, dataset]}
    schema["properties"]["extends"] = {"type": "string", "description": "A file beside this one to build on."}
    definitions.pop("Component", None)
    for part in (schema, *definitions.values()):
        part.pop("required", None)
    for name in names("op"):
        definitions[f"op_{name}"]["required"] = ["op"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "mien experiment"}
