//! Whose an object is: what it carries from the request that makes it on.

use serde_json::Value;

/// The mark of a cluster, on all that was made for it.
///
/// An object carries two words: `muster-cluster=ID`, whose it is, and `muster-part=NAME`, what it is for. They are in a field that
/// is stored by the request that makes it: the description of networks, ports and the like, the metadata of servers. A tag would
/// need a second request in neutron, and whoever is killed between the two leaves an object of nobody. Tags say the same once
/// more, so that the cloud's own tools find everything by them. A key pair has neither; its name ends with the id.
///
/// Objects are listed whole and compared here, never by a filter of the service: one that a service does not know is passed over
/// in silence, and then everything would seem to be ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    id: String,
}

/// The words' beginnings; the first is also the key of a server's metadata.
const CLUSTER: &str = "muster-cluster";
const PART: &str = "muster-part";

impl Mark {
    /// The mark of the cluster with this identity.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into() }
    }

    /// The tag that finds all of the cluster's objects.
    pub fn tag(&self) -> String {
        format!("{CLUSTER}={}", self.id)
    }

    /// The cluster's identity, which whatever Kubernetes makes in the cloud may carry as the name of its cluster.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Both words.
    pub(crate) fn tags(&self, part: &str) -> [String; 2] {
        [self.tag(), format!("{PART}={part}")]
    }

    /// Both words as a description.
    pub(crate) fn description(&self, part: &str) -> String {
        self.tags(part).join(" ")
    }

    /// Both words as metadata of a server.
    pub(crate) fn metadata(&self, part: &str) -> Value {
        serde_json::json!({CLUSTER: self.id, PART: part})
    }

    /// What a key pair of the cluster is called.
    pub(crate) fn key_name(&self, cluster: &str) -> String {
        format!("{cluster}-{}", self.id)
    }

    /// What an object is for, if it is this cluster's.
    pub(crate) fn part_of(&self, object: &Value) -> Option<String> {
        let tags = object["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let description = object["description"].as_str().unwrap_or_default().split(' ');
        let words: Vec<&str> = tags.chain(description).collect();
        let metadata = &object["metadata"];
        if words.contains(&self.tag().as_str()) || metadata[CLUSTER] == self.id.as_str() {
            let part = words.iter().find_map(|word| word.strip_prefix(PART)?.strip_prefix('='));
            return Some(part.or_else(|| metadata[PART].as_str()).unwrap_or_default().to_owned());
        }
        None
    }

    /// Whether a key pair is this cluster's, by its name.
    pub(crate) fn is_of_key(&self, name: &str) -> bool {
        name.strip_suffix(&self.id).is_some_and(|rest| rest.ends_with('-'))
    }

    /// Whether all tags are there.
    pub(crate) fn is_tagged(&self, object: &Value, part: &str) -> bool {
        let tags: Vec<&str> =
            object["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        self.tags(part).iter().all(|tag| tags.contains(&tag.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_found_by_either_of_its_marks_and_nobody_elses_is() {
        let mark = Mark::new("1a2b");
        let part = |object: Value| mark.part_of(&object);
        assert_eq!(
            part(json!({"description": mark.description("cp-1"), "tags": []})).as_deref(),
            Some("cp-1")
        );
        assert_eq!(part(json!({"description": "mine", "tags": mark.tags("cp-1")})).as_deref(), Some("cp-1"));
        assert_eq!(part(json!({"metadata": mark.metadata("cp-1"), "tags": []})).as_deref(), Some("cp-1"));
        assert_eq!(
            part(json!({"description": "muster-cluster=1a2b3", "tags": ["muster-cluster=1a2", "x"]})),
            None
        );
        assert_eq!(part(json!({"name": "shop-cp-1", "metadata": {}})), None);
        assert_eq!(part(json!({"description": null, "tags": null})), None);
        assert!(mark.is_of_key(&mark.key_name("shop")));
        assert!(!mark.is_of_key("1a2b") && !mark.is_of_key("shop-1a2b-old") && !mark.is_of_key("shop"));
    }
}
