//! Manifests of upstream's: artifacts of the catalogue, of which single things are changed in typed steps. A step that does not find
//! its place is an error, so that a version with another manifest is noticed.

use std::io::Read as _;

use muster_engine::prelude::*;
use serde_json::{Value, json};

use crate::catalogue::artifact;
use crate::common::cluster_vars;
use crate::objects::parsed;

/// What `patched` makes of a manifest, which has this name in the catalogue.
///
/// # Errors
/// It is not in the bundle, or is not as `patched` needs it.
pub(super) fn patched<T>(
    of: &Host,
    name: &str,
    patched: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T> {
    let Artifact { bundle, entry } = artifact(of, name, &cluster_vars(of)?.kube_version)?;
    let unreadable = |error: String| {
        Failure::new(
            format!("{}: {error}", bundle.path(&entry).display()),
            "look at the bundle: muster bundle check",
        )
    };
    let mut text = String::new();
    let mut content = bundle.content(&entry).map_err(|error| unreadable(error.to_string()))?;
    content.read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    patched(&text).map_err(unreadable)
}

/// The definitions of kinds in manifests that have these names in the catalogue, and nothing else.
///
/// # Errors
/// One is not in the bundle, or has something else.
pub(super) fn definitions(of: &Host, names: &[&str]) -> Result<Vec<Value>> {
    let read = |text: &str| match objects(text)? {
        [definitions, others] if !definitions.is_empty() && others.is_empty() => Ok(definitions),
        _ => Err("it is no manifest of definitions of kinds alone".to_owned()),
    };
    let manifests: Vec<_> = names.iter().map(|name| patched(of, name, read)).collect::<Result<_>>()?;
    Ok(manifests.concat())
}

/// The definitions of kinds in a manifest, and its other objects.
pub(super) fn objects(text: &str) -> Result<[Vec<Value>; 2], String> {
    let documents: Vec<Value> = parsed(text)?;
    let documents = documents.into_iter().filter(|document| !document.is_null());
    let is_definition = |document: &Value| document["kind"] == "CustomResourceDefinition";
    let (definitions, objects) = documents.partition(is_definition);
    Ok([definitions, objects])
}

/// The object of this kind and name.
pub(super) fn find<'o>(objects: &'o mut [Value], kind: &str, name: &str) -> Result<&'o mut Value, String> {
    let is_it = |object: &&mut Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects.iter_mut().find(is_it).ok_or_else(|| format!("there is no {kind} {name} in it"))
}

/// The arguments of the first container of a deployment or a daemon set.
pub(super) fn arguments(object: &mut Value) -> Result<&mut Vec<Value>, String> {
    let arguments = object.pointer_mut("/spec/template/spec/containers/0/args").and_then(Value::as_array_mut);
    arguments.ok_or_else(|| "a container has no arguments".to_owned())
}

/// The argument of a deployment or a daemon set that begins so (`--name=`) has this value.
pub(super) fn set_argument(object: &mut Value, begin: &str, value: &str) -> Result<(), String> {
    let is_it = |argument: &&mut Value| argument.as_str().is_some_and(|text| text.starts_with(begin));
    let argument = arguments(object)?.iter_mut().find(is_it);
    *argument.ok_or_else(|| format!("there is no {begin} in it"))? = json!(format!("{begin}{value}"));
    Ok(())
}
