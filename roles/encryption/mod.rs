//! Secrets are encrypted in etcd (Kubernetes' documentation: "Encrypting Confidential Data at Rest").
//!
//! Each API server has a file with keys. Several come to another key in two rounds, so that each can always read what the others
//! write ([`providers`]): the role `control-plane` gives them what is next, and the role here the rest. When all write as is
//! wanted, what etcd holds is written anew; that this was done is noted in the cluster, so that it comes and goes with its data.

mod providers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine};
use muster_engine::prelude::*;
use serde::Deserialize;

use crate::adoption;
use crate::cluster::{self, Identity, Standing};
use crate::common::cluster_vars;
use crate::etcd;
use crate::kubeadm;
use crate::kubectl::{Kubectl, api_answers, kubectl};
use providers::{Config, Provider, Targets};

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
struct Vars {
    kube_encrypt_secret_data: bool,
    kube_encryption_algorithm: String,
    kube_encryption_resources: Vec<String>,
    kube_encrypt_token: Option<String>,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::own::<Vars>()];

const ROLE: &str = "encryption";

/// What a control plane tells the others: it writes as is wanted, or cannot yet.
const ROLLED: &str = "encryption in the API server";

/// How the control planes encrypted before this run, and when the role `control-plane` had been on all of them.
const BEFORE: &str = "how the control planes encrypt";
const AFTER: &str = "how the control planes encrypt in the middle of the run";

/// Where the keys of a control plane are: kubespray's path.
pub(crate) fn path(host: &Host) -> Result<String> {
    Ok(format!("{}/secrets_encryption.yaml", cluster_vars(host)?.kube_cert_dir))
}

/// What the API server of a control plane is told.
pub(crate) struct Encryption {
    path: String,
    config: Config,
}

impl Encryption {
    /// The file with the keys.
    pub(crate) fn file(&self) -> File {
        file(self.path.as_str()).secret(self.config.text())
    }

    /// The argument of the API server.
    pub(crate) fn argument(&self) -> (&'static str, String) {
        ("encryption-provider-config", self.path.clone())
    }

    /// Differs wherever the API server has to start anew. The names of keys are enough: each stands for one key.
    pub(crate) fn gist(&self) -> String {
        self.config.gist()
    }
}

/// How a control plane encrypts next; `None` where nobody ever asked for it.
pub(crate) async fn next(host: &Host, known: &Standing) -> Result<Option<Encryption>> {
    let state = match host.cluster().done::<Option<State>>(AFTER) {
        Some(state) => state,
        None => state(host, known, BEFORE).await?,
    };
    let Some(state) = &*state else { return Ok(None) };
    Ok(Some(Encryption { path: path(host)?, config: state.next(host.name()) }))
}

/// Everything is written as is wanted: by the API servers, and in etcd.
pub(crate) async fn run(host: &Host) -> Result<()> {
    let known = cluster::may_set_up(host).await?;
    let state_before = state(host, &known, BEFORE).await?;
    let Some(before) = &*state_before else { return Ok(()) };
    let order: Vec<&str> = known.in_order().map_err(|problem| Failure::Problems(vec![problem]))?;
    let in_run = |plane: &str| host.cluster().in_run(plane);
    let mut unsettled = before.unsettled(&order, in_run);
    if !unsettled.is_empty() && host.check_mode() {
        host.not_yet("Encrypt with the key that all control planes have");
        return Ok(());
    }
    if !unsettled.is_empty() {
        for plane in &order {
            host.needs_of_role(plane, kubeadm::CONTROL_PLANE, kubeadm::API_IS_UP).await?;
        }
        let after = state(host, &known, AFTER).await?;
        unsettled = after.as_ref().as_ref().unwrap_or(before).unsettled(&order, in_run);
        let place = order.iter().position(|name| *name == host.name());
        if let Some(earlier) = place.and_then(|place| place.checked_sub(1)) {
            host.needs_of_role(order[earlier], ROLE, ROLLED).await?;
        }
        kubeadm::reconfigure(host, &known).await?;
    }
    host.reached(ROLLED);
    if known.foremost() != Some(host.name()) {
        return Ok(());
    }
    for plane in &order {
        host.needs_of_role(plane, ROLE, ROLLED).await?;
    }
    if !unsettled.is_empty() {
        host.warn(format!(
            "not all control planes write as is wanted yet ({}): what etcd holds is written anew when a run has reached all of them",
            unsettled.join(", ")
        ));
        return Ok(());
    }
    rewritten(host, &before.targets).await
}

/// What etcd holds is as the API servers write it.
async fn rewritten(host: &Host, targets: &Targets) -> Result<()> {
    let Some(kubectl) = Kubectl::find(host).await? else {
        host.not_yet("Write anew what etcd holds");
        return Ok(());
    };
    let noted = kubectl
        .query(
            "how secrets were written last",
            kubectl!(
                r#"kubectl -n kube-system get configmap muster-encryption --ignore-not-found -o 'jsonpath={.data.written}'"#,
                [""]
            ),
        )
        .await?;
    // Kinds that are encrypted no more are known by the note alone.
    let mut wanted: BTreeMap<&str, String> = noted
        .split_whitespace()
        .filter_map(|part| Some((part.split_once('=')?.0, "identity".to_owned())))
        .collect();
    wanted.extend(targets.0.iter().map(|(resource, provider)| (resource.as_str(), provider.to_string())));
    let note: Vec<String> =
        wanted.iter().map(|(resource, provider)| format!("{resource}={provider}")).collect();
    let note = note.join(" ");
    if noted.trim() == note {
        host.passed("Write anew what etcd holds");
        return Ok(());
    }
    let arguments = [note.as_str()].into_iter().chain(wanted.keys().copied());
    kubectl
        .step("Write anew what etcd holds")
        .detached()
        .limit(Duration::from_secs(1800))
        .ensure(command(
            format!("objects in etcd: {note}"),
            kubectl!(include_str!("rewrite.sh"), arguments),
            sh0("false"),
        ))
        .await
        .map(drop)
}

/// What the control planes have, and what is wanted of all of them.
struct State {
    /// Of those that stand, or once stood, and could be asked.
    configs: BTreeMap<String, Config>,
    /// Those that could not be asked.
    unread: Vec<String>,
    targets: Targets,
}

impl State {
    fn next(&self, name: &str) -> Config {
        let others: Vec<&Config> =
            self.configs.iter().filter(|(other, _)| *other != name).map(|(_, config)| config).collect();
        // What cannot be asked may be unable to read anything new, and may write with every key there is.
        let nobody = Config::default();
        let unread = self.unread.iter().map(|_| &nobody);
        let own = self.configs.get(name).unwrap_or(&nobody);
        own.next(&others.into_iter().chain(unread).collect::<Vec<_>>(), &self.targets)
    }

    /// One that writes otherwise than is wanted.
    fn other_than_wanted(&self) -> Option<(&str, &Config)> {
        let mut all = self.configs.iter().map(|(name, config)| (name.as_str(), config));
        all.find(|(_, config)| !config.is_settled(&self.targets))
    }

    /// The control planes that do not write as is wanted even when each of the run has got what is next; the others stay as they
    /// are.
    fn unsettled(&self, planes: &[&str], in_run: impl Fn(&str) -> bool) -> Vec<String> {
        let is_settled = |plane: &str| match in_run(plane) {
            true => self.next(plane).is_settled(&self.targets),
            false => self.configs.get(plane).is_some_and(|config| config.is_settled(&self.targets)),
        };
        let planes = planes.iter().filter(|plane| !is_settled(plane)).map(|plane| (*plane).to_owned());
        let all: BTreeSet<String> = planes.chain(self.unread.iter().cloned()).collect();
        all.into_iter().collect()
    }
}

async fn state(host: &Host, known: &Standing, when: &'static str) -> Result<Arc<Option<State>>> {
    host.cluster().once(when, || async { look(host, known, when).await }).await
}

async fn look(host: &Host, known: &Standing, when: &str) -> Result<Option<State>> {
    let (vars, path): (Vars, _) = (host.vars()?, path(host)?);
    let standing = known.standing();
    let mut encrypting: Vec<&str> =
        standing.iter().copied().filter(|name| known.encrypts_with(name, &path)).collect();
    let mut configs = BTreeMap::new();
    // What `kubeadm reset` has left on a control plane, or a beginning that was cut off: what is in etcd may need it.
    for name in known.planes.iter().filter(|name| !standing.contains(&name.as_str())) {
        if known.identity(name).is_some_and(Identity::has_authority) {
            let config = config_of(host, name, &path).await?;
            encrypting.extend(config.keys().next().map(|_| name.as_str()));
            configs.insert(name.clone(), config);
        }
    }
    if !vars.kube_encrypt_secret_data && encrypting.is_empty() {
        return Ok(None);
    }
    for name in &known.planes {
        // In the middle of the run, those that have just joined stand as well.
        let stands = standing.contains(&name.as_str()) || (when == AFTER && host.cluster().in_run(name));
        if stands {
            configs.insert(name.clone(), config_of(host, name, &path).await?);
        }
    }
    let unread: Vec<String> = known.unknown_planes().map(|(name, _)| name.to_owned()).collect();
    if let Some(lost) =
        encrypting.first().filter(|_| configs.values().all(|config| config.keys().next().is_none()))
    {
        return Err(Failure::new(
            format!(
                "secrets in etcd are encrypted, and {path}, which holds the keys, is on no control plane"
            ),
            format!("put it back from a backup, on {lost}: without it nobody can read them"),
        ));
    }
    let has_keys = configs.values().any(|config| config.keys().next().is_some());
    // A new key would take the place of one that is lost, in name.
    if standing.is_empty() && !has_keys && etcd::holds_objects(host).await? == Some(true) {
        return Err(Failure::new(
            format!(
                "etcd holds the objects of a cluster, and whether {path} of one of its control planes had keys for them is not known"
            ),
            format!(
                "if it had, put it back from a backup, on {}; if its secrets are not encrypted, set kube_encrypt_secret_data: false \
                 until the cluster stands",
                known.planes.join(" and ")
            ),
        ));
    }
    let targets = match vars.kube_encrypt_secret_data {
        true => {
            let key = key(&vars, &configs, &unread)?;
            Targets(
                vars.kube_encryption_resources
                    .iter()
                    .map(|resource| (resource.clone(), key.clone()))
                    .collect(),
            )
        }
        false => Targets::default(),
    };
    let state = State { configs, unread, targets };
    let other = state.other_than_wanted();
    let changes = other.is_some();
    if let Some((name, config)) = other.filter(|_| adoption::is_under_way(host)) {
        return Err(Failure::Problems(vec![stays_as_it_is(name, config, &state.targets)]));
    }
    if changes && when == BEFORE && !standing.is_empty() {
        nobody_is_left_out(host, known).await?;
    }
    Ok(Some(state))
}

/// That an adoption would change how a control plane keeps objects in etcd, and with what in the inventory it does not.
fn stays_as_it_is(name: &str, config: &Config, targets: &Targets) -> Problem {
    let has = config.encrypts();
    let resources: Vec<&str> = has.0.keys().map(String::as_str).collect();
    let keys: BTreeSet<String> = has.0.values().map(ToString::to_string).collect();
    let remedy = match (has.0.values().next(), keys.len()) {
        (Some(Provider::Key { algorithm, .. }), 1) => format!(
            "set kube_encrypt_secret_data: true, kube_encryption_algorithm: {algorithm}, kube_encryption_resources: [{}], and \
             kube_encrypt_token to the key that it has, or not at all",
            resources.join(", ")
        ),
        (None, _) => {
            "set kube_encrypt_secret_data: false; to encrypt, set it to true when the cluster is adopted: setup-cluster".to_owned()
        }
        _ => "bring all of it to one key first, with the tool that has made the cluster".to_owned(),
    };
    Problem {
        check: "kube_encrypt_secret_data".into(),
        found: format!(
            "the API server of {name} encrypts {has}, and with this inventory it would encrypt {targets}"
        ),
        needed: "the encryption that the cluster has: an adoption changes none of it".into(),
        remedy,
    }
}

async fn config_of(host: &Host, name: &str, path: &str) -> Result<Config> {
    let plane = host.cluster().host(name)?;
    let answer = plane.query(sh(r#"[ ! -e "$1" ] || cat "$1""#, [path])).await?;
    if answer.status == 0 && answer.output.trim().is_empty() {
        return Ok(Config::default());
    }
    Config::parse(&answer.output).map_err(|why| {
        Failure::new(
            format!("{path} of {name} says how secrets are encrypted, and cannot be read: {why}"),
            "see what it is; a configuration of your own is given to the API server in another file: \
             kube_kubeadm_apiserver_extra_args: {encryption-provider-config: PATH}, apiserver_extra_volumes, and \
             kube_encrypt_secret_data: false",
        )
    })
}

/// The key that is wanted: the one of the variable, else the one that the cluster has, else a new one.
fn key(vars: &Vars, configs: &BTreeMap<String, Config>, unread: &[String]) -> Result<Provider> {
    let mut keys = configs.values().flat_map(Config::keys);
    let wanted = vars.kube_encryption_algorithm.as_str();
    let given = vars.kube_encrypt_token.as_ref().map(|token| BASE64_STANDARD.encode(token));
    let is_it = |provider: &&Provider| match provider {
        Provider::Key { algorithm, secret, .. } => {
            algorithm == wanted && given.as_ref().is_none_or(|given| given == secret)
        }
        Provider::Identity => false,
    };
    if let Some(key) = keys.find(is_it) {
        return Ok(key.clone());
    }
    if let Some(missing) = unread.first() {
        return Err(Failure::new(
            format!("a new key for secrets is wanted, and {missing}, which may have one, could not be asked"),
            format!("switch {missing} on, or remove it from the cluster: muster remove-node {missing}"),
        ));
    }
    let names: Vec<&str> = configs
        .values()
        .flat_map(Config::keys)
        .filter_map(|key| match key {
            Provider::Key { name, .. } => Some(name.as_str()),
            Provider::Identity => None,
        })
        .collect();
    let name = (1..).map(|number| format!("key{number}")).find(|name| !names.contains(&name.as_str()));
    let secret = given.unwrap_or_else(|| BASE64_STANDARD.encode(rand::random::<[u8; 32]>()));
    Ok(Provider::Key { algorithm: wanted.to_owned(), name: name.unwrap_or_default(), secret })
}

/// Every API server of the cluster takes part: one that does not know a key could not read what the others write.
async fn nobody_is_left_out(host: &Host, known: &Standing) -> Result<()> {
    if known.standing().contains(&host.name()) {
        // One that somebody stopped is started before the API is asked.
        host.step("Start the kubelet").ensure(service("kubelet")).await?;
        api_answers(host, Duration::from_secs(180)).await?;
    }
    let Some(kubectl) = Kubectl::find(host).await? else { return Ok(()) };
    let nodes = kubectl!(
        r#"kubectl get nodes -l node-role.kubernetes.io/control-plane -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}'"#,
        [""]
    );
    let nodes = kubectl.query("the control planes of the cluster", nodes).await?;
    let mut planes = Vec::new();
    for name in &known.planes {
        planes.push(cluster_vars(&*host.cluster().host(name)?)?.kube_override_hostname);
    }
    match nodes.lines().find(|node| !planes.iter().any(|plane| plane == node)) {
        None => Ok(()),
        Some(stranger) => Err(Failure::new(
            format!(
                "the cluster has a control plane {stranger} that is not in the inventory, and could not read secrets that the others \
                 encrypt with a key which it does not have"
            ),
            format!(
                "put it into [kube_control_plane], or remove it from the cluster: muster kubectl delete node {stranger}"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(token: Option<&str>) -> Vars {
        Vars {
            kube_encrypt_secret_data: true,
            kube_encryption_algorithm: "secretbox".into(),
            kube_encryption_resources: vec!["secrets".into()],
            kube_encrypt_token: token.map(str::to_owned),
        }
    }

    fn state(planes: &[(&str, &Config)], unread: &[&str], key: &Provider) -> State {
        State {
            configs: planes.iter().map(|(name, config)| ((*name).to_owned(), (*config).clone())).collect(),
            unread: unread.iter().map(|name| (*name).to_owned()).collect(),
            targets: Targets([("secrets".to_owned(), key.clone())].into()),
        }
    }

    #[test]
    fn a_cluster_that_has_a_key_keeps_it_and_one_that_is_given_another_gets_a_new_name_for_it() {
        let first = key(&vars(None), &BTreeMap::new(), &[]).unwrap();
        assert_eq!(first.to_string(), "secretbox:key1");
        assert_ne!(first.clone(), Provider::Identity);
        let has = state(&[], &[], &first).next("a");
        let configs: BTreeMap<_, _> = [("a".to_owned(), Config::default()), ("b".to_owned(), has)].into();
        assert!(key(&vars(None), &configs, &[]).unwrap() == first);
        let given = key(&vars(Some("0123456789abcdef0123456789abcdef")), &configs, &[]).unwrap();
        assert_eq!(given.to_string(), "secretbox:key2");
        let Provider::Key { secret, .. } = &given else { panic!() };
        assert_eq!(secret, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    }

    #[test]
    fn an_adoption_changes_nothing_of_what_is_encrypted() {
        let kubesprays = "resources:\n- resources: [secrets, configmaps]\n  providers:\n  - secretbox: {keys: [{name: key, secret: a2V5}]}\n  \
                          - identity: {}\n";
        let has = Config::parse(kubesprays).unwrap();
        let own = has.keys().next().unwrap().clone();
        let told = |has: &Config, targets: &[&str]| {
            let targets = targets.iter().map(|resource| ((*resource).to_owned(), own.clone())).collect();
            let configs = [("a".to_owned(), has.clone())].into();
            let state = State { configs, unread: Vec::new(), targets: Targets(targets) };
            let (name, config) = state.other_than_wanted()?;
            let Problem { found, remedy, .. } = stays_as_it_is(name, config, &state.targets);
            Some(format!("{found}: {remedy}"))
        };
        assert_eq!(told(&has, &["configmaps", "secrets"]), None);
        // The variable may have been given when the cluster was made, and be in no file; or it may say less.
        let by_nothing = told(&has, &[]).unwrap();
        assert!(
            by_nothing.contains("configmaps with secretbox:key, secrets with secretbox:key, and with this inventory it would encrypt nothing")
                && by_nothing.contains(
                    "kube_encrypt_secret_data: true, kube_encryption_algorithm: secretbox, kube_encryption_resources: [configmaps, secrets]"
                ),
            "{by_nothing}"
        );
        assert!(told(&has, &["secrets"]).is_some());
        let more = told(&Config::default(), &["secrets"]).unwrap();
        assert!(
            more.contains("encrypts nothing") && more.contains("set kube_encrypt_secret_data: false"),
            "{more}"
        );
        let several = kubesprays.replace(", configmaps]", "]")
            + "- resources: [configmaps]\n  providers:\n  - aescbc: {keys: [{name: other, secret: a2V5}]}\n";
        let several = told(&Config::parse(&several).unwrap(), &["secrets"]).unwrap();
        assert!(several.contains("to one key first"), "{several}");
    }

    #[test]
    fn no_key_is_made_while_somebody_who_may_have_one_is_away() {
        let failure = key(&vars(None), &BTreeMap::new(), &["c".to_owned()]).unwrap_err();
        assert!(failure.to_string().contains("c, which may have one"), "{failure}");
    }

    #[test]
    fn nothing_is_written_with_a_key_that_a_control_plane_which_is_off_may_not_have() {
        let key = key(&vars(None), &BTreeMap::new(), &[]).unwrap();
        let none = Config::default();
        let with_one_away = state(&[("a", &none), ("b", &none)], &["c"], &key);
        let next = with_one_away.next("a");
        assert_eq!(next.gist(), "{\"secrets\": [identity, secretbox:key1]}");
        assert_eq!(with_one_away.unsettled(&["a", "b", "c"], |_| true), ["a", "b", "c"]);
        let again = state(&[("a", &next), ("b", &next)], &["c"], &key);
        assert_eq!(again.next("a").gist(), next.gist());
        let all = state(&[("a", &next), ("b", &next)], &[], &key);
        assert!(all.unsettled(&["a", "b"], |_| true).is_empty());
        // One that takes no part in the run goes on as it was.
        assert_eq!(all.unsettled(&["a", "b"], |plane| plane == "a"), ["b"]);
    }
}
