//! A cluster in somebody's own kubeconfig, beside others: put in, brought up to date, and taken out again.
//!
//! What a kubeconfig is made of, and that the first entry of a name counts: Kubernetes, "Organizing Cluster Access Using
//! kubeconfig Files".

use serde_json::{Map, Value, json};

/// A kubeconfig, as far as it is looked at. All else in it stays as it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kubeconfig(Map<String, Value>);

/// Why a cluster cannot be put into a kubeconfig.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The text is no kubeconfig, for this reason.
    NoKubeconfig(String),
    /// The name is taken by an entry that is not of this cluster: its kind, and where it leads.
    NameTaken(String),
}

/// The parts of a kubeconfig in which entries have names.
const PARTS: [&str; 3] = ["clusters", "contexts", "users"];

impl Kubeconfig {
    /// Reads one; no text is an empty one.
    ///
    /// # Errors
    /// It is no YAML, or no kubeconfig.
    pub(crate) fn of(text: &str) -> Result<Self, Refused> {
        let no = |why: &str| Refused::NoKubeconfig(why.to_owned());
        let parsed = serde_saphyr::from_str::<Value>(text)
            .map_err(|error| no(&error.without_snippet().to_string()))?;
        let all = match parsed {
            Value::Object(all) => all,
            Value::Null => Map::new(),
            _ => return Err(no("it is no mapping of keys and values")),
        };
        if all.get("kind").is_some_and(|kind| kind != "Config") {
            return Err(no(&format!("its kind is {}, not Config", all["kind"])));
        }
        let is_list = |part: &&str| match all.get(*part) {
            Some(Value::Array(entries)) => entries.iter().all(|entry| entry["name"].is_string()),
            Some(other) => other.is_null(),
            None => true,
        };
        match PARTS.iter().find(|part| !is_list(part)) {
            Some(part) => Err(no(&format!("{part} is no list of entries with names"))),
            None => Ok(Self(all)),
        }
    }

    /// Puts in the cluster of an administrator's kubeconfig under a name, as a context that is the current one.
    ///
    /// # Errors
    /// The administrator's kubeconfig is none, or the name belongs to another cluster.
    pub(crate) fn put(&mut self, admin: &Self, name: &str) -> Result<(), Refused> {
        let only = |part: &str, key: &str| match admin.entries(part) {
            [entry] => Ok(entry[key].clone()),
            _ => Err(Refused::NoKubeconfig(format!("{part} has not one entry"))),
        };
        let (cluster, user) = (only("clusters", "cluster")?, only("users", "user")?);
        self.check_name(name, &cluster)?;
        let user_name = user_name(name);
        self.set("clusters", name, "cluster", cluster);
        self.set("users", &user_name, "user", user);
        // A namespace that somebody has chosen stays.
        let mut context =
            self.entry("contexts", name).map_or_else(|| json!({}), |entry| entry["context"].clone());
        context["cluster"] = json!(name);
        context["user"] = json!(user_name);
        self.set("contexts", name, "context", context);
        self.0.entry("apiVersion").or_insert_with(|| json!("v1"));
        self.0.entry("kind").or_insert_with(|| json!("Config"));
        self.0.insert("current-context".into(), json!(name));
        Ok(())
    }

    /// Takes out what [`Kubeconfig::put`] has put in under a name, if it is there.
    ///
    /// # Errors
    /// The name belongs to something that was not put in so.
    pub(crate) fn take_out(&mut self, name: &str) -> Result<(), Refused> {
        let Some(context) = self.entry("contexts", name).map(|entry| &entry["context"]) else {
            return Ok(());
        };
        if context["cluster"] != name || context["user"] != user_name(name).as_str() {
            return Err(Refused::NameTaken(format!("a context that leads to {}", context["cluster"])));
        }
        for (part, name) in PARTS.into_iter().zip([name, name, &user_name(name)]) {
            if let Some(Value::Array(entries)) = self.0.get_mut(part) {
                entries.retain(|entry| entry["name"] != name);
            }
        }
        if self.current() == Some(name) {
            self.0.insert("current-context".into(), json!(""));
        }
        Ok(())
    }

    /// The context that kubectl uses.
    pub(crate) fn current(&self) -> Option<&str> {
        self.0.get("current-context")?.as_str().filter(|name| !name.is_empty())
    }

    /// Its text, in YAML.
    ///
    /// # Errors
    /// What is written would not be read as the same.
    pub(crate) fn text(&self) -> Result<String, Refused> {
        let text =
            serde_saphyr::to_string(&self.0).map_err(|error| Refused::NoKubeconfig(error.to_string()))?;
        match Self::of(&text) {
            Ok(again) if again == *self => Ok(text),
            _ => Err(Refused::NoKubeconfig("it holds a value that cannot be written as it was read".into())),
        }
    }

    /// The name is free, or belongs to this cluster: one with the same authority, or one at the same address, which was made anew.
    fn check_name(&self, name: &str, cluster: &Value) -> Result<(), Refused> {
        let same = |found: &Value, key: &str| found[key] == cluster[key] && !found[key].is_null();
        match self.entry("clusters", name).map(|entry| &entry["cluster"]) {
            Some(found) if !same(found, "certificate-authority-data") && !same(found, "server") => {
                Err(Refused::NameTaken(format!("a cluster at {}", found["server"])))
            }
            None if self.entry("users", &user_name(name)).is_some() => {
                Err(Refused::NameTaken(format!("a user {} that is not of this cluster,", user_name(name))))
            }
            None if self.entry("contexts", name).is_some() => {
                Err(Refused::NameTaken("a context of another cluster".into()))
            }
            _ => Ok(()),
        }
    }

    fn entries(&self, part: &str) -> &[Value] {
        self.0.get(part).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn entry(&self, part: &str, name: &str) -> Option<&Value> {
        self.entries(part).iter().find(|entry| entry["name"] == name)
    }

    fn set(&mut self, part: &str, name: &str, key: &str, value: Value) {
        let entries = self.0.entry(part).or_insert_with(|| json!([]));
        if entries.is_null() {
            *entries = json!([]);
        }
        let Value::Array(entries) = entries else { return };
        match entries.iter_mut().find(|entry| entry["name"] == name) {
            Some(entry) => entry[key] = value,
            None => entries.push(json!({ "name": name, key: value })),
        }
    }
}

/// The name of a cluster's administrator.
fn user_name(cluster: &str) -> String {
    format!("{cluster}-admin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admin(server: &str, authority: &str) -> Kubeconfig {
        Kubeconfig::of(&format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: kubernetes\n  cluster:\n    server: https://{server}\n    \
             certificate-authority-data: {authority}\nusers:\n- name: kubernetes-admin\n  user: {{client-key-data: S0VZ}}\n\
             contexts:\n- name: x\n  context: {{cluster: kubernetes, user: kubernetes-admin}}\ncurrent-context: x\n"
        ))
        .unwrap_or_else(|refused| panic!("{refused:?}"))
    }

    /// As kubectl and others write them.
    const THEIRS: &str = "apiVersion: v1\nclusters:\n- cluster:\n    server: https://192.0.2.99:6443\n  name: work\ncontexts:\n- context:\n    \
        cluster: work\n    user: me\n  name: work\ncurrent-context: work\nkind: Config\npreferences: {}\nusers:\n- name: me\n  user:\n    \
        token: \"0123\"\n    exec: {command: login, args: [\"yes\", \"1e3\"]}\n";

    fn after(text: &str, change: impl Fn(&mut Kubeconfig)) -> String {
        let mut config = Kubeconfig::of(text).unwrap();
        change(&mut config);
        config.text().unwrap()
    }

    #[test]
    fn a_cluster_comes_and_goes_and_the_others_stay() {
        let put = after(THEIRS, |config| config.put(&admin("192.0.2.11:6443", "Q0E="), "class").unwrap());
        let both = Kubeconfig::of(&put).unwrap();
        assert_eq!(both.current(), Some("class"));
        assert_eq!(
            both.entry("contexts", "class").unwrap()["context"],
            json!({"cluster": "class", "user": "class-admin"})
        );
        assert_eq!(both.entry("users", "class-admin").unwrap()["user"]["client-key-data"], "S0VZ");
        let theirs = Kubeconfig::of(THEIRS).unwrap();
        for part in PARTS {
            assert_eq!(both.entries(part)[0], theirs.entries(part)[0], "{part}");
        }
        let again = after(&put, |config| config.put(&admin("192.0.2.11:6443", "Q0E="), "class").unwrap());
        assert_eq!(again, put);
        let gone = after(&put, |config| config.take_out("class").unwrap());
        let mut without = theirs;
        without.0["current-context"] = json!("");
        assert_eq!(Kubeconfig::of(&gone).unwrap(), without);
        assert_eq!(after(&gone, |config| config.take_out("class").unwrap()), gone);
    }

    #[test]
    fn a_cluster_that_was_made_anew_takes_the_place_of_the_one_before_and_a_chosen_namespace_stays() {
        let before = after("", |config| config.put(&admin("192.0.2.11:6443", "Q0E="), "class").unwrap());
        let before = before.replace("user: class-admin", "user: class-admin\n    namespace: mine");
        for (server, authority) in [("192.0.2.11:6443", "TkVX"), ("192.0.2.12:6443", "Q0E=")] {
            let now = after(&before, |config| config.put(&admin(server, authority), "class").unwrap());
            let now = Kubeconfig::of(&now).unwrap();
            let cluster = &now.entry("clusters", "class").unwrap()["cluster"];
            assert_eq!(cluster["server"], format!("https://{server}"));
            assert_eq!(cluster["certificate-authority-data"], authority);
            assert_eq!(now.entry("contexts", "class").unwrap()["context"]["namespace"], "mine");
            assert_eq!(now.entries("clusters").len(), 1);
        }
    }

    #[test]
    fn what_belongs_to_others_is_refused() {
        let mut theirs = Kubeconfig::of(THEIRS).unwrap();
        let admin = admin("192.0.2.11:6443", "Q0E=");
        let refused = Refused::NameTaken("a cluster at \"https://192.0.2.99:6443\"".into());
        assert_eq!(theirs.put(&admin, "work"), Err(refused));
        assert!(matches!(theirs.take_out("work"), Err(Refused::NameTaken(_))));
        assert_eq!(theirs, Kubeconfig::of(THEIRS).unwrap());
        let only_a_context = THEIRS.replace("  name: work\ncurrent", "  name: class\ncurrent");
        let mut only_a_context = Kubeconfig::of(&only_a_context).unwrap();
        assert!(matches!(only_a_context.put(&admin, "class"), Err(Refused::NameTaken(_))));
        let only_a_user = THEIRS.replace("name: me", "name: class-admin");
        let mut only_a_user = Kubeconfig::of(&only_a_user).unwrap();
        assert!(matches!(only_a_user.put(&admin, "class"), Err(Refused::NameTaken(_))));
        for no in ["- a", "clusters: {a: b}", "kind: Pod", "users: [{user: {}}]", "a: ["] {
            assert!(matches!(Kubeconfig::of(no), Err(Refused::NoKubeconfig(_))), "{no}");
        }
        // Of what cannot be read the lines are not shown: they hold tokens.
        match Kubeconfig::of("users:\n- user:\n    token: s3cret\n  name: [\n") {
            Err(Refused::NoKubeconfig(why)) => {
                assert!(why.contains("line ") && !why.contains("s3cret"), "{why}")
            }
            _ => panic!("it was read"),
        }
    }
}
