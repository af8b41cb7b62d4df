//! All variables of all hosts: gathered from every place, in order of precedence.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use indexmap::IndexMap;

use crate::error::InventoryError;
use crate::extra_vars;
use crate::fact_names;
use crate::host_vars::HostVars;
use crate::inventory::{ALL, GroupId, HostId, Inventory};
use crate::jinja;
use crate::layer::{Layer, LayerKind};
use crate::magic;
use crate::origin::{Origin, SourceText, Warning};
use crate::renames::Renames;
use crate::value::{Kind, Value};
use crate::var_files::{self, VarDir};
use crate::vars_error::VarsError;
use crate::vault::VaultSecrets;
use crate::yaml;

/// Gathers variables; [`VarsBuilder::build`] makes them usable.
pub struct VarsBuilder {
    inventory: Arc<Inventory>,
    defaults: Vec<Layer>,
    extra: Vec<Layer>,
    playbook_dir: Option<PathBuf>,
    project_dir: Option<PathBuf>,
    environment: BTreeMap<String, String>,
    secrets: VaultSecrets,
    renames: Renames,
    merge_hashes: bool,
    warnings: Vec<Warning>,
}

impl VarsBuilder {
    /// Variables for the hosts of an inventory.
    pub fn new(inventory: Arc<Inventory>) -> Self {
        Self {
            inventory,
            defaults: Vec::new(),
            extra: Vec::new(),
            playbook_dir: None,
            project_dir: None,
            environment: BTreeMap::new(),
            secrets: VaultSecrets::new(),
            renames: Renames::new(),
            merge_hashes: false,
            warnings: Vec::new(),
        }
    }

    /// Adds values, a YAML mapping, for templates that read variables which nobody sets: below all defaults, and not listed
    /// among a host's variables. `name` is what messages call the text.
    ///
    /// # Errors
    /// When the text is not a YAML mapping.
    pub fn fallbacks(mut self, name: &str, yaml_text: &str) -> Result<Self, InventoryError> {
        let layer = self.text_layer(LayerKind::Fallback, name, yaml_text)?;
        let above = self.defaults.iter().take_while(|layer| layer.kind == LayerKind::Fallback).count();
        self.defaults.insert(above, layer);
        Ok(self)
    }

    /// Adds defaults of a role, a YAML mapping; later ones win over earlier ones. `name` is what
    /// messages call the text.
    ///
    /// # Errors
    /// When the text is not a YAML mapping.
    pub fn defaults(mut self, name: &str, yaml_text: &str) -> Result<Self, InventoryError> {
        let layer = self.text_layer(LayerKind::Default, name, yaml_text)?;
        self.defaults.push(layer);
        Ok(self)
    }

    /// Adds one `-e` argument: `key=value ...` (texts), JSON or YAML (typed), or `@file`. Later
    /// ones win.
    ///
    /// # Errors
    /// When the argument cannot be read.
    pub fn extra_vars(mut self, argument: &str) -> Result<Self, InventoryError> {
        let layer = extra_vars::parse(argument, &self.secrets, &mut self.warnings)?;
        self.extra.push(layer);
        Ok(self)
    }

    /// The directory that the user works in: `group_vars` and `host_vars` in it do not count, and the user is told.
    #[must_use]
    pub fn project_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.project_dir = Some(dir.into());
        self
    }

    /// The directory of the playbook: `group_vars` and `host_vars` beside it count, and it is the
    /// variable `playbook_dir`.
    #[must_use]
    pub fn playbook_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.playbook_dir = Some(dir.into());
        self
    }

    /// What `lookup('env', ...)` sees. Without it, every environment variable is empty.
    #[must_use]
    pub fn environment(mut self, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment = environment.into_iter().collect();
        self
    }

    /// Passwords for encrypted files and values. To be given before [`Self::extra_vars`].
    #[must_use]
    pub fn secrets(mut self, secrets: VaultSecrets) -> Self {
        self.secrets = secrets;
        self
    }

    /// Mappings that several places give one variable become one, key by key, instead of the last one winning
    /// (`hash_behaviour = merge`).
    #[must_use]
    pub fn merge_hashes(mut self, merge: bool) -> Self {
        self.merge_hashes = merge;
        self
    }

    /// Old names of variables.
    #[must_use]
    pub fn renames(mut self, renames: Renames) -> Self {
        self.renames = renames;
        self
    }

    fn text_layer(&mut self, kind: LayerKind, name: &str, text: &str) -> Result<Layer, InventoryError> {
        let source = SourceText::new(name, text);
        let document = yaml::parse(&source, text, &mut self.warnings)?;
        match document.kind {
            Kind::Map(vars) => Ok(Layer { kind, name: name.to_owned(), vars }),
            Kind::Null => Ok(Layer { kind, name: name.to_owned(), vars: IndexMap::new() }),
            _ => {
                let origin = document.origin.unwrap_or_else(|| Origin::whole(&source));
                Err(InventoryError::syntax(origin, "variables are a mapping (\"name: value\" lines)"))
            }
        }
    }

    /// Reads `group_vars` and `host_vars` and puts everything in order.
    ///
    /// # Errors
    /// When a file of variables cannot be read.
    pub fn build(mut self) -> Result<Arc<Vars>, InventoryError> {
        let inventory = Arc::clone(&self.inventory);
        let mut files = Files::default();
        for dir in &inventory.var_dirs {
            files.read(&inventory, dir, Beside::Inventory, &self.secrets, &mut self.warnings)?;
        }
        if let Some(dir) = &self.playbook_dir {
            // The same directory twice would only say everything twice.
            if !inventory.var_dirs.contains(dir) {
                files.read(&inventory, dir, Beside::Playbook, &self.secrets, &mut self.warnings)?;
            }
        }
        if let (Some(dir), Some(right)) = (&self.project_dir, inventory.var_dirs.last())
            && !inventory.var_dirs.contains(dir)
            && self.playbook_dir.as_ref() != Some(dir)
        {
            self.warnings.extend(var_files::elsewhere(&inventory, dir, right, &self.secrets));
        }
        let mut hosts: Vec<HostState> = Vec::with_capacity(inventory.hosts.len());
        for host in inventory.hosts.values() {
            let name = format!("host line of {}", host.name);
            let mut line = Layer { kind: LayerKind::HostLine, name, vars: host.vars.clone() };
            self.renames.apply(&mut line, &mut self.warnings);
            hosts.push(HostState::new(Arc::new(line)));
        }
        let mut groups = Vec::with_capacity(inventory.groups.len());
        for (id, group) in inventory.groups.iter().enumerate() {
            let kind = if id == ALL { LayerKind::AllVars } else { LayerKind::GroupVars };
            let mut layer = Layer { kind, name: format!("[{}:vars]", group.name), vars: group.vars.clone() };
            self.renames.apply(&mut layer, &mut self.warnings);
            groups.push(Arc::new(layer));
        }
        for layer in files.layers_mut() {
            self.renames.apply(layer, &mut self.warnings);
        }
        for layer in &mut self.extra {
            self.renames.apply(layer, &mut self.warnings);
        }
        let shared = |layers: Vec<Layer>| layers.into_iter().map(Arc::new).collect();
        let inner = Inner {
            environment: jinja::environment(self.environment),
            inventory,
            secrets: self.secrets,
            merge_hashes: self.merge_hashes,
            defaults: shared(self.defaults),
            groups,
            files: files.share(),
            extra: shared(self.extra),
            hosts,
            group_lists: OnceLock::new(),
            generation: AtomicU64::new(0),
            playbook_dir: self.playbook_dir,
        };
        Ok(Arc::new(Vars { inner: Arc::new(inner), warnings: self.warnings }))
    }
}

/// The variables of all hosts. Shared by tasks behind an [`Arc`].
pub struct Vars {
    pub(crate) inner: Arc<Inner>,
    warnings: Vec<Warning>,
}

impl std::fmt::Debug for Vars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vars({} hosts)", self.inner.hosts.len())
    }
}

/// What [`Vars`] and every [`HostVars`] share.
pub(crate) struct Inner {
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) environment: minijinja::Environment<'static>,
    pub(crate) secrets: VaultSecrets,
    pub(crate) merge_hashes: bool,
    defaults: Vec<Arc<Layer>>,
    groups: Vec<Arc<Layer>>,
    files: SharedFiles,
    extra: Vec<Arc<Layer>>,
    hosts: Vec<HostState>,
    /// The hosts of every group as templates see them, made when the first one asks.
    group_lists: OnceLock<Vec<minijinja::Value>>,
    /// Counts changes of facts, so that memoised values can tell that they are stale.
    generation: AtomicU64,
    pub(crate) playbook_dir: Option<PathBuf>,
}

/// What is known of one host.
struct HostState {
    line: Arc<Layer>,
    /// The layers without facts, lowest precedence first; made when the host is first asked about.
    layers: OnceLock<Vec<Arc<Layer>>>,
    facts: RwLock<Facts>,
    memo: Mutex<Memo>,
    group_names: OnceLock<minijinja::Value>,
}

#[derive(Default)]
struct Facts {
    machine: Option<Arc<Layer>>,
    set: Option<Arc<Layer>>,
}

/// Resolved values, valid for one generation.
#[derive(Default)]
struct Memo {
    generation: u64,
    values: HashMap<String, minijinja::Value>,
}

impl HostState {
    fn new(line: Arc<Layer>) -> Self {
        Self {
            line,
            layers: OnceLock::new(),
            facts: RwLock::default(),
            memo: Mutex::default(),
            group_names: OnceLock::new(),
        }
    }
}

/// What two values of a variable come to with `hash_behaviour = merge` (`ansible.utils.vars.merge_hash`).
fn merged(below: Value, above: Value) -> Value {
    match (below.kind, above.kind) {
        (Kind::Map(mut map), Kind::Map(over)) => {
            for (key, value) in over {
                let value = match map.get(&key) {
                    Some(known) => merged(known.clone(), value),
                    None => value,
                };
                map.insert(key, value);
            }
            Value { kind: Kind::Map(map), origin: above.origin }
        }
        (_, kind) => Value { kind, origin: above.origin },
    }
}

/// A panic of another task while it held a lock leaves plain data behind, which stays usable.
fn unpoisoned<T>(result: Result<T, PoisonError<T>>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}

impl Vars {
    /// What the user should hear about files and names of variables.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The inventory these variables belong to.
    pub fn inventory(&self) -> &Inventory {
        &self.inner.inventory
    }

    /// The variables of one host.
    ///
    /// # Errors
    /// When the inventory has no such host.
    pub fn host(&self, name: &str) -> Result<HostVars, VarsError> {
        match self.inner.inventory.hosts.get_index_of(name) {
            Some(id) => Ok(HostVars::new(Arc::clone(&self.inner), id)),
            None => Err(VarsError::UnknownHost { host: name.to_owned() }),
        }
    }

    /// Replaces all facts of a host by what was found out about the machine.
    ///
    /// # Errors
    /// When the inventory has no such host.
    pub fn set_facts(
        &self,
        host: &str,
        facts: impl IntoIterator<Item = (String, Value)>,
    ) -> Result<(), VarsError> {
        let facts = facts.into_iter().collect();
        let layer = Layer { kind: LayerKind::Facts, name: format!("facts of {host}"), vars: facts };
        let inner = &self.inner;
        // Nothing that needed these facts could be worked out before, so nothing has to be worked out again: with hundreds
        // of machines that would be everything, each time that one of them answers.
        let first = inner.inventory.hosts.get_index_of(host).is_some_and(|id| {
            let new = |name: &String| fact_names::is_fact(name) && inner.definition(id, name).is_none();
            inner.machine_facts(id).is_none() && layer.vars.keys().all(new)
        });
        self.change_facts(host, |known| known.machine = Some(Arc::new(layer)))?;
        if !first {
            inner.generation.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Sets one variable of a host while the program runs; wins over facts, loses to `-e`.
    ///
    /// # Errors
    /// When the inventory has no such host.
    pub fn set_fact(&self, host: &str, name: &str, value: Value) -> Result<(), VarsError> {
        self.change_facts(host, |known| {
            let mut layer = known.set.as_deref().cloned().unwrap_or_else(|| Layer {
                kind: LayerKind::SetFact,
                name: format!("set for {host}"),
                vars: IndexMap::new(),
            });
            layer.vars.insert(name.to_owned(), value);
            known.set = Some(Arc::new(layer));
        })?;
        self.inner.generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn change_facts(&self, host: &str, change: impl FnOnce(&mut Facts)) -> Result<(), VarsError> {
        let Some(id) = self.inner.inventory.hosts.get_index_of(host) else {
            return Err(VarsError::UnknownHost { host: host.to_owned() });
        };
        let mut facts = unpoisoned(self.inner.hosts[id].facts.write());
        change(&mut facts);
        Ok(())
    }

    /// Every layer a user wrote, each once.
    pub(crate) fn user_layers(&self) -> Vec<Arc<Layer>> {
        let inner = &self.inner;
        let lines = inner.hosts.iter().map(|host| &host.line);
        inner.groups.iter().chain(inner.files.all()).chain(lines).chain(&inner.extra).cloned().collect()
    }
}

impl Inner {
    /// The layers of a host, lowest precedence first.
    pub(crate) fn layers(&self, host: HostId) -> Vec<Arc<Layer>> {
        let mut layers = self.fixed_layers(host).to_vec();
        let facts = unpoisoned(self.hosts[host].facts.read());
        layers.extend(facts.machine.iter().chain(&facts.set).cloned());
        layers.extend(self.extra.iter().cloned());
        layers
    }

    /// The definition that wins, without magic variables.
    pub(crate) fn definition(&self, host: HostId, name: &str) -> Option<Value> {
        if self.merge_hashes {
            let layers = self.layers(host);
            let values = layers.iter().filter_map(|layer| layer.vars.get(name)).cloned();
            return values.reduce(merged);
        }
        let find = |layer: &Arc<Layer>| layer.vars.get(name).cloned();
        if let Some(value) = self.extra.iter().rev().find_map(find) {
            return Some(value);
        }
        {
            let facts = unpoisoned(self.hosts[host].facts.read());
            if let Some(value) = facts.set.iter().chain(&facts.machine).find_map(find) {
                return Some(value);
            }
        }
        self.fixed_layers(host).iter().rev().find_map(find)
    }

    fn fixed_layers(&self, host: HostId) -> &[Arc<Layer>] {
        self.hosts[host].layers.get_or_init(|| {
            let groups = self.inventory.groups_by_precedence(&self.inventory.hosts[host]);
            let mut layers: Vec<Arc<Layer>> = self.defaults.clone();
            layers.push(Arc::clone(&self.groups[ALL]));
            layers.extend(groups.iter().map(|group| Arc::clone(&self.groups[*group])));
            self.files.group(&[ALL], &mut layers);
            self.files.group(&groups, &mut layers);
            layers.push(Arc::clone(&self.hosts[host].line));
            self.files.host(host, &mut layers);
            layers.retain(|layer| !layer.vars.is_empty());
            layers
        })
    }

    /// The hosts of a group, as a template sees them.
    pub(crate) fn group_list(&self, group: GroupId) -> Option<minijinja::Value> {
        let lists = self.group_lists.get_or_init(|| {
            let list = |group: GroupId| {
                let hosts = self.inventory.group_hosts(group).into_iter();
                let names =
                    hosts.map(|host| minijinja::Value::from(self.inventory.hosts[host].name.as_str()));
                names.collect::<Vec<_>>().into()
            };
            (0..self.inventory.groups.len()).map(list).collect()
        });
        lists.get(group).cloned()
    }

    pub(crate) fn group_names(&self, host: HostId) -> minijinja::Value {
        let state = &self.hosts[host];
        let names = || magic::group_names(&self.inventory, &self.inventory.hosts[host].name);
        state.group_names.get_or_init(names).clone()
    }

    /// What the machine reported, if it was asked.
    pub(crate) fn machine_facts(&self, host: HostId) -> Option<Arc<Layer>> {
        unpoisoned(self.hosts[host].facts.read()).machine.clone()
    }

    fn memo(&self, host: HostId) -> MutexGuard<'_, Memo> {
        let mut memo = unpoisoned(self.hosts[host].memo.lock());
        let generation = self.generation.load(Ordering::Acquire);
        if memo.generation != generation {
            *memo = Memo { generation, values: HashMap::new() };
        }
        memo
    }

    pub(crate) fn recall(&self, host: HostId, name: &str) -> Option<minijinja::Value> {
        self.memo(host).values.get(name).cloned()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Remembers a value that was worked out in a generation, unless facts have changed since.
    pub(crate) fn remember(&self, host: HostId, name: &str, value: &minijinja::Value, generation: u64) {
        let mut memo = self.memo(host);
        if memo.generation == generation {
            memo.values.insert(name.to_owned(), value.clone());
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Inventory,
    Playbook,
}

/// The files of `group_vars` and `host_vars`: for each directory, by group and by host.
#[derive(Default)]
struct Files {
    dirs: Vec<DirFiles<Layer>>,
}

struct DirFiles<L> {
    beside: Beside,
    groups: HashMap<GroupId, Vec<L>>,
    hosts: HashMap<HostId, Vec<L>>,
}

impl Files {
    fn read(
        &mut self,
        inventory: &Inventory,
        dir: &Path,
        beside: Beside,
        secrets: &VaultSecrets,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), InventoryError> {
        let mut found = DirFiles { beside, groups: HashMap::new(), hosts: HashMap::new() };
        let group_vars = VarDir::open(dir, "group_vars")?;
        for (id, group) in inventory.groups.iter().enumerate() {
            let kind = match (beside, id == ALL) {
                (Beside::Inventory, true) => LayerKind::AllFile,
                (Beside::Inventory, false) => LayerKind::GroupFile,
                (Beside::Playbook, true) => LayerKind::PlaybookAllFile,
                (Beside::Playbook, false) => LayerKind::PlaybookGroupFile,
            };
            for name in inventory.rules.names(&group.name) {
                for file in group_vars.files(name)? {
                    found
                        .groups
                        .entry(id)
                        .or_default()
                        .push(var_files::read(&file, kind, secrets, warnings)?);
                }
            }
        }
        let group_names = inventory.groups.iter().flat_map(|group| inventory.rules.names(&group.name));
        warnings.extend(group_vars.hidden(group_names.clone()));
        warnings.extend(group_vars.stray("group", group_names.chain(inventory.rules.known())));
        let host_vars = VarDir::open(dir, "host_vars")?;
        let host_names = inventory.hosts.keys().map(String::as_str);
        warnings.extend(host_vars.hidden(host_names.clone()));
        warnings.extend(host_vars.stray("host", host_names));
        warnings.extend(var_files::misnamed(dir));
        let kind =
            if beside == Beside::Inventory { LayerKind::HostFile } else { LayerKind::PlaybookHostFile };
        for (id, name) in inventory.hosts.keys().enumerate() {
            for file in host_vars.files(name)? {
                found.hosts.entry(id).or_default().push(var_files::read(&file, kind, secrets, warnings)?);
            }
        }
        self.dirs.push(found);
        Ok(())
    }

    fn layers_mut(&mut self) -> impl Iterator<Item = &mut Layer> {
        self.dirs.iter_mut().flat_map(|dir| dir.groups.values_mut().chain(dir.hosts.values_mut())).flatten()
    }

    fn share(self) -> SharedFiles {
        fn share(map: HashMap<usize, Vec<Layer>>) -> HashMap<usize, Vec<Arc<Layer>>> {
            map.into_iter().map(|(id, layers)| (id, layers.into_iter().map(Arc::new).collect())).collect()
        }
        let dirs = self.dirs.into_iter().map(|dir| DirFiles {
            beside: dir.beside,
            groups: share(dir.groups),
            hosts: share(dir.hosts),
        });
        SharedFiles { dirs: dirs.collect() }
    }
}

struct SharedFiles {
    dirs: Vec<DirFiles<Arc<Layer>>>,
}

impl SharedFiles {
    /// The files of some groups: directory by directory, those beside the playbook last.
    fn group(&self, groups: &[GroupId], layers: &mut Vec<Arc<Layer>>) {
        for dir in self.ordered() {
            layers.extend(groups.iter().filter_map(|group| dir.groups.get(group)).flatten().cloned());
        }
    }

    fn host(&self, host: HostId, layers: &mut Vec<Arc<Layer>>) {
        for dir in self.ordered() {
            layers.extend(dir.hosts.get(&host).into_iter().flatten().cloned());
        }
    }

    fn ordered(&self) -> impl Iterator<Item = &DirFiles<Arc<Layer>>> {
        let beside = |wanted: Beside| self.dirs.iter().filter(move |dir| dir.beside == wanted);
        beside(Beside::Inventory).chain(beside(Beside::Playbook))
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Layer>> {
        self.dirs.iter().flat_map(|dir| dir.groups.values().chain(dir.hosts.values())).flatten()
    }
}
