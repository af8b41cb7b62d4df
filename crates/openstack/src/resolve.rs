//! What a declaration names in the cloud: flavors, images, networks and routers that are there already.

use std::collections::BTreeMap;

use muster_inventory::closest;
use serde_json::Value;

use crate::client::{CloudError, Service, Session};
use crate::declaration::{CloudSide, Declaration, Named, Network, Pool};
use crate::kind::Kind;
use crate::machines::MachinesError;
use crate::mistake::Mistakes;
use crate::parallel::joined;
use crate::view::View;

/// What is named, in the cloud.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// All that is named.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    flavors: BTreeMap<String, Found>,
    images: BTreeMap<String, Found>,
    /// All images of the cloud.
    all_images: Vec<Found>,
    pub(crate) external: Option<String>,
    /// The network that is there, if machines are in one.
    pub(crate) network: Option<String>,
    /// The router that is there, if one is named.
    pub(crate) router: Option<String>,
}

impl Resolved {
    /// Finds everything, or tells all that is not there, with what may have been meant.
    ///
    /// # Errors
    /// Something is not there, or is there several times.
    pub(crate) fn find(
        session: &Session,
        declaration: &Declaration,
        cloud: &CloudSide,
        view: &View,
    ) -> Result<Self, MachinesError> {
        let (flavors, images) = std::thread::scope(|scope| {
            let flavors = scope.spawn(|| session.list(Service::Compute, "/flavors", "flavors"));
            let images = session.list(Service::Image, "/images?status=active&limit=1000", "images");
            Ok::<_, CloudError>((joined(flavors)?, images?))
        })?;
        let mut found = Self::default();
        let mut mistakes = Vec::new();
        let mut one = |what: &str, named: &Named, among: &mut dyn Iterator<Item = &Value>| {
            pick(what, &named.name, among).map_err(|why| mistakes.push(declaration.mistake(named, why))).ok()
        };
        for made in declaration.pools.iter().filter_map(Pool::made) {
            for (what, named, all, into) in [
                ("flavor", &made.flavor, &flavors, &mut found.flavors),
                ("image", &made.image, &images, &mut found.images),
            ] {
                if !into.contains_key(&named.name)
                    && let Some(id) = one(what, named, &mut all.iter())
                {
                    into.insert(named.name.clone(), id);
                }
            }
        }
        if let Some(named) = &cloud.external {
            let mut outside = view.all(Kind::Network).filter(|network| network["router:external"] == true);
            found.external = one("external network", named, &mut outside).map(|found| found.id);
        }
        match &cloud.network {
            Network::Existing(named) => {
                found.network = one("network", named, &mut view.all(Kind::Network)).map(|found| found.id);
            }
            Network::Own { router: Some(named), .. } => {
                found.router = one("router", named, &mut view.all(Kind::Router)).map(|found| found.id);
            }
            Network::Own { router: None, .. } => {}
        }
        Mistakes::none_of(mistakes)?;
        found.all_images = images.iter().map(Found::of).collect();
        Ok(found)
    }

    pub(crate) fn flavor(&self, named: &Named) -> Found {
        self.flavors.get(&named.name).cloned().unwrap_or_default()
    }

    pub(crate) fn image(&self, named: &Named) -> Found {
        self.images.get(&named.name).cloned().unwrap_or_default()
    }

    /// What an image is called, if it is still there.
    pub(crate) fn image_name(&self, id: &str) -> Option<&str> {
        self.all_images.iter().find(|image| image.id == id).map(|image| image.name.as_str())
    }
}

impl Found {
    fn of(object: &Value) -> Self {
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        Self { id: text("id"), name: text("name") }
    }
}

/// The one object that has this id, or else this name.
fn pick(what: &str, name: &str, among: &mut dyn Iterator<Item = &Value>) -> Result<Found, String> {
    let all: Vec<Found> = among.map(Found::of).collect();
    if let Some(found) = all.iter().find(|found| found.id == name) {
        return Ok(found.clone());
    }
    let same: Vec<&Found> = all.iter().filter(|found| found.name == name).collect();
    match same.as_slice() {
        [found] => Ok((*found).clone()),
        [] => {
            let mut names: Vec<&str> =
                all.iter().map(|found| found.name.as_str()).filter(|name| !name.is_empty()).collect();
            names.sort_unstable();
            names.dedup();
            Err(match closest(name, names.iter().copied()) {
                Some(known) => format!("the cloud has no {what} {name:?}; did you mean {known:?}?"),
                None if names.is_empty() => {
                    format!("the cloud has no {what} {name:?}, and shows no other one to this project")
                }
                None => format!("the cloud has no {what} {name:?}; it has {}", some(&names)),
            })
        }
        several => Err(format!(
            "the cloud has {} of the name {name:?} as {what}; name one by its id: {}",
            several.len(),
            several.iter().map(|found| found.id.as_str()).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// The first of some names.
fn some(names: &[&str]) -> String {
    const MOST: usize = 12;
    let shown = names[..names.len().min(MOST)].join(", ");
    if names.len() > MOST { format!("{shown} and {} more", names.len() - MOST) } else { shown }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn something_is_found_by_its_id_or_its_name_or_it_is_said_what_there_is() {
        let all = [
            json!({"id": "1", "name": "small"}),
            json!({"id": "2", "name": "twin"}),
            json!({"id": "3", "name": "twin"}),
        ];
        let pick = |name: &str| pick("flavor", name, &mut all.iter());
        assert_eq!(pick("small").unwrap().id, "1");
        assert_eq!(pick("3").unwrap(), Found { id: "3".into(), name: "twin".into() });
        assert_eq!(pick("smal").unwrap_err(), "the cloud has no flavor \"smal\"; did you mean \"small\"?");
        assert_eq!(pick("enormous").unwrap_err(), "the cloud has no flavor \"enormous\"; it has small, twin");
        assert_eq!(
            pick("twin").unwrap_err(),
            "the cloud has 2 of the name \"twin\" as flavor; name one by its id: 2, 3"
        );
    }
}
