"""Ways to write a specification differently that mean the same."""

import copy
import json

from support.live_platforms import downgraded

NULL = {"type": "null"}


def _walk(node, change):
    """Return a copy in which `change` was applied to each object, the innermost first."""
    if isinstance(node, list):
        return [_walk(each, change) for each in node]
    if isinstance(node, dict):
        return change({key: _walk(value, change) for key, value in node.items()})
    return node


def rename_schemas(document, random):
    """Give each schema another name, of the kinds that FastAPI and others make."""
    text = json.dumps(document)
    components = {}
    for name in document["components"]["schemas"]:
        new = random.choice(["{}Model", "app__api__{}", "{}-Output", "Page_{}_", "{}", "x.{}"]).format(name)
        text = text.replace(f'#/components/schemas/{name}"', f'#/components/schemas/{new}"')
        components[new] = name
    renamed = json.loads(text)
    schemas = renamed["components"]["schemas"]
    renamed["components"]["schemas"] = {new: schemas[old] for new, old in components.items()}
    return renamed


def shuffle(document, random):
    """Put every object's keys, and every list whose order means nothing, in another order."""

    def change(node):
        keys = random.sample([*node], len(node))
        for name in ("required", "enum", "anyOf", "parameters"):
            if isinstance(node.get(name), list):
                node[name] = random.sample(node[name], len(node[name]))
        return {key: node[key] for key in keys}

    return _walk(document, change)


def inline(document, random):
    """Replace some references by what they stand for."""
    schemas = document["components"]["schemas"]

    def change(node):
        name = str(node.get("$ref", "")).rpartition("/")[2]
        if name in schemas and f"/{name}'" not in repr(schemas[name]) and random.random() < 0.5:
            return copy.deepcopy(schemas[name])
        return node

    return _walk(document, change)


def add_operations(document, random):
    """Add operations that nobody here knows, with schemas of their own."""
    for number in range(random.randint(1, 8)):
        schema = {"type": "object", "properties": {"x": {"$ref": f"#/components/schemas/Extra{number}"}}}
        document["components"]["schemas"][f"Extra{number}"] = schema
        method = random.choice(["get", "post", "delete", "put", "patch"])
        answer = {"content": {"application/json": {"schema": schema}}, "description": "x"}
        document["paths"][f"/api/v1/orgs/{{org}}/things{number}/{{thing}}"] = {method: {"responses": {"200": answer}}}
    return document


def write_null_otherwise(document, random):
    """Say `or null` in another way of 3.1 or 3.0."""

    def change(node):
        choices = node.get("anyOf")
        if not isinstance(choices, list) or NULL not in choices or random.random() < 0.3:
            return node
        left = [each for each in choices if each != NULL]
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        if len(left) > 1:
            return {**rest, random.choice(["anyOf", "oneOf"]): left, "nullable": True}
        if "$ref" in left[0]:
            return {**rest, "allOf": left, "nullable": True}
        if isinstance(left[0].get("type"), str) and random.random() < 0.5:
            return {**rest, **left[0], "type": [left[0]["type"], "null"]}
        return {**rest, **left[0], "nullable": True}

    return _walk(document, change)


def drop_422(document, random):
    """Leave FastAPI's own error out of some operations."""
    for item in document["paths"].values():
        for operation in item.values():
            if random.random() < 0.7:
                operation["responses"].pop("422", None)
    return document


def reword(document, random):
    """Write other titles, descriptions and examples."""

    def change(node):
        if {"type", "anyOf", "$ref", "allOf"} & node.keys() and not isinstance(node.get("properties", {}), str):
            node = {key: value for key, value in node.items() if key != "title" or not isinstance(value, str)}
            if "name" not in node and isinstance(node.get("type", ""), (str, list)):
                words = random.choice([{"title": "Some title"}, {"description": "Words."}, {"examples": [1]}, {}])
                return {**node, **words}
        return node

    document["components"]["schemas"] = {
        name: _walk(schema, change) for name, schema in document["components"]["schemas"].items()
    }
    return document


def wrap_references(document, random):
    """Write a reference as `allOf` of one."""

    def change(node):
        if set(node) == {"$ref"} and "schemas" in node["$ref"] and random.random() < 0.5:
            return {"allOf": [node]}
        return node

    return _walk(document, change)


def rename_operations(document, random):
    """Give operations other ids, summaries and tags."""
    for item in document["paths"].values():
        for operation in item.values():
            operation["operationId"] = f"op_{random.randrange(10**9)}"
            operation["tags"] = random.sample(["a", "b", "c"], 2)
    return document


def rename_path_parameters(document, random):
    """Call the paths' parameters otherwise."""
    text = json.dumps(document)
    for name in ("organization_id", "run_id", "block_id"):
        new = f"{name}_{random.randrange(100)}"
        text = text.replace(f"{{{name}}}", f"{{{new}}}").replace(f'"name": "{name}"', f'"name": "{new}"')
    return json.loads(text)


def write_as_3_0(document, random):
    """Say all of it in OpenAPI 3.0."""
    return downgraded(document)


MUTATIONS = (
    rename_schemas,
    shuffle,
    inline,
    add_operations,
    write_null_otherwise,
    drop_422,
    reword,
    wrap_references,
    rename_operations,
    rename_path_parameters,
    write_as_3_0,
)


def mutated(document, mutations, random):
    """Return the document after the mutations, in their order."""
    for each in mutations:
        document = each(document, random)
    return document
