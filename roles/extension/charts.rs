//! Charts in the folder of the user's. helm renders them on this computer, as it does without a cluster (`helm template`), and what
//! comes of it is applied and removed as the objects of the folder are. So Helm keeps no release, and nobody runs hooks: what becomes
//! of them is in `Chart::take`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use muster_artifacts::Sha256;
use muster_engine::prelude::{self, Failure, Result as Outcome};
use serde_json::Value;

use super::apis::Apis;
use super::template::{Release, template};
use super::{TEMPLATES, TEXTS, objects_of};

/// A chart, and how it is rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chart {
    /// Its folder, or its archive.
    pub(crate) path: PathBuf,
    /// What its release is called.
    pub(crate) name: String,
    pub(crate) namespace: String,
    /// The values for it, in YAML.
    pub(crate) values: String,
}

/// What came of charts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rendered {
    /// Objects, with the places in charts that have brought them.
    pub(crate) objects: Vec<(String, Value)>,
    /// What the charts would have run, and muster does not, in words.
    pub(super) left_out: Vec<String>,
}

/// A chart that could not be rendered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unrendered {
    /// With the chart, and in helm's own words.
    pub(crate) why: String,
    /// Whether the chart may say something else once it knows the cluster's APIs.
    pub(super) asks_for_apis: bool,
}

/// Whether a file of the folder is a chart.
pub(crate) fn is_chart(path: &Path) -> bool {
    if path.is_dir() {
        return path.join("Chart.yaml").is_file();
    }
    // Of others a pipe would be waited for.
    if !is_archive(path) || !path.is_file() {
        return false;
    }
    let Ok(file) = File::open(path) else { return false };
    // As far as one has to look: helm writes it first.
    let mut archive = tar::Archive::new(GzDecoder::new(file).take(8 << 20));
    let Ok(members) = archive.entries() else { return false };
    // It is in the folder that all of a chart is in.
    let is_it = |path: &Path| path.ends_with("Chart.yaml") && path.components().count() == 2;
    members.map_while(Result::ok).any(|member| member.path().is_ok_and(|path| is_it(&path)))
}

fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "tgz")
}

/// What the release of a chart is called: as the folder, or as the archive without its version (`helm package`).
pub(crate) fn release_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some(name) = name.strip_suffix(".tgz").filter(|_| is_archive(path)) else { return name };
    let version = name.match_indices('-').find(|(at, _)| is_version(&name[at + 1..]));
    version.map_or(name, |(at, _)| &name[..at]).to_owned()
}

/// Whether a text is a version, as charts have it: `1.2.3-rc.1`.
fn is_version(text: &str) -> bool {
    let begins = |part: &str| part.starts_with(|letter: char| letter.is_ascii_digit());
    let mut parts = text.trim_start_matches('v').splitn(3, '.');
    let numbers = parts.by_ref().take(2).filter(|part| part.parse::<u64>().is_ok()).count();
    numbers == 2 && parts.next().is_some_and(begins)
}

/// The release of which a file of the folder holds the values: `web` of `web.values.yaml`.
pub(super) fn values_for(name: &str) -> Option<&str> {
    let mut endings = TEXTS.iter().chain(&TEMPLATES);
    endings.find_map(|ending| name.strip_suffix(ending)?.strip_suffix(".values"))
}

/// Renders charts with what is known of the cluster's APIs, and with the kinds that these definitions, and the charts themselves,
/// will bring to it.
///
/// # Errors
/// The first one that cannot be rendered.
pub(crate) fn rendered(
    helm: &Path,
    charts: &[Chart],
    mut apis: Apis,
    definitions: &[Value],
) -> Result<Rendered, Unrendered> {
    for definition in definitions {
        apis.learn(definition);
    }
    loop {
        let mut all = Rendered::default();
        for chart in charts {
            chart.render(helm, &apis, &mut all).map_err(|why| Unrendered {
                why: format!("{}: {why}", chart.path.display()),
                asks_for_apis: asks_for_apis(&chart.path),
            })?;
        }
        let learned = all.objects.iter().filter(|(_, object)| apis.learn(object)).count();
        // Each time there is more to learn, until there is not.
        if learned == 0 {
            return Ok(all);
        }
    }
}

/// Does what takes long [aside](prelude::aside): other hosts go on meanwhile.
///
/// # Errors
/// It has ended without a result.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Outcome<T> {
    prelude::aside(work).await.ok_or_else(|| Failure::new("the charts could not be rendered", ""))
}

/// Whether anything in a chart names `.Capabilities.APIVersions`. In archives nobody looks.
fn asks_for_apis(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().any(|entry| asks_for_apis(&entry.path())),
        Err(_) => {
            let words = b"APIVersions";
            is_archive(path)
                || fs::read(path).is_ok_and(|text| text.windows(words.len()).any(|part| part == words))
        }
    }
}

impl Chart {
    fn render(&self, helm: &Path, apis: &Apis, into: &mut Rendered) -> Result<(), String> {
        let release = Release {
            name: &self.name,
            namespace: &self.namespace,
            chart: &self.path,
            values: &self.values,
            kube_version: &apis.version,
            api_versions: apis.versions.iter().map(String::as_str).collect::<Vec<_>>().join(","),
        };
        let text = template(helm, &release)?;
        let lines: Vec<&str> = text.lines().collect();
        for (line, mut object) in objects_of(&text)? {
            // helm says above each object which template has made it: `# Source: NAME/templates/a.yaml`.
            let above = lines.iter().take(usize::try_from(line).unwrap_or(usize::MAX)).rev();
            let source = above.filter_map(|line| line.strip_prefix("# Source: ")).next().unwrap_or_default();
            let source = source.split_once('/').map_or(source, |(_, rest)| rest);
            apis.place(&mut object, &self.namespace);
            self.take(format!("{}: {source}", self.path.display()), object, into);
        }
        Ok(())
    }

    /// Takes an object of the chart. Those that Helm would bring in the course of an installation are objects as all others are; jobs
    /// and pods among them are done once, and anew when they are others. Tests, and what belongs to upgrades, rollbacks and removals,
    /// are left out.
    fn take(&self, place: String, mut object: Value, into: &mut Rendered) {
        let events = object["metadata"]["annotations"]["helm.sh/hook"].as_str().map(str::to_owned);
        let runs = ["Job", "Pod"].iter().any(|kind| object["kind"] == *kind);
        let Some(events) = events else { return into.objects.push((place, object)) };
        let mut each = events.split(',').map(str::trim);
        if each.clone().any(|event| ["pre-install", "post-install"].contains(&event)) {
            if runs {
                name_by_content(&mut object);
            }
            into.objects.push((place, object));
        } else if runs && !each.all(|event| event.starts_with("test")) {
            let [kind, name] =
                [&object["kind"], &object["metadata"]["name"]].map(|text| text.as_str().unwrap_or_default());
            into.left_out.push(format!("{place}: {kind} {name} is for {events}"));
        }
    }
}

/// Gives what runs once a digest of what it does in its name. What has run cannot be changed (its template is immutable); so another
/// one takes its place when it is to do something else. It stays when it has ended, by which is seen that it has run.
fn name_by_content(object: &mut Value) {
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.remove("ttlSecondsAfterFinished");
    }
    let digest = Sha256::of(object.to_string().as_bytes()).to_string();
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    let prefix = metadata.remove("generateName");
    let name = metadata.get("name").or(prefix.as_ref()).and_then(Value::as_str).unwrap_or_default();
    // The names of its pods are longer, and have to be labels: 63 characters.
    let name = format!("{:.40}", name).trim_end_matches(['-', '.']).to_owned();
    metadata.insert("name".to_owned(), format!("{name}-{digest:.10}").into());
}

/// Which charts there are in the folder, by the names of their releases, and the values for them with their files.
#[derive(Debug, Default)]
pub(super) struct Found {
    charts: BTreeMap<String, PathBuf>,
    values: BTreeMap<String, (PathBuf, String)>,
}

impl Found {
    /// # Errors
    /// There is another one of that name.
    pub(super) fn take_chart(&mut self, path: PathBuf) -> Result<(), String> {
        let name = release_of(&path);
        let here = path.display().to_string();
        match self.charts.insert(name.clone(), path) {
            Some(other) => Err(format!("{here}: another chart {name} is in {}", other.display())),
            None => Ok(()),
        }
    }

    /// # Errors
    /// There are other ones for the same chart, or these are none.
    pub(super) fn take_values(&mut self, name: &str, path: PathBuf, text: String) -> Result<(), String> {
        let here = path.display().to_string();
        let documents: Vec<Value> =
            crate::objects::parsed(&text).map_err(|error| format!("{here}: {error}"))?;
        if documents.len() > 1 || documents.iter().any(|values| !values.is_object() && !values.is_null()) {
            return Err(format!("{here}: holds no values of a chart (name: value), but something else"));
        }
        match self.values.insert(name.to_owned(), (path, text)) {
            Some((other, _)) => {
                Err(format!("{here}: other values for the chart {name} are in {}", other.display()))
            }
            None => Ok(()),
        }
    }

    /// The charts, each with its values and its namespace.
    ///
    /// # Errors
    /// Values, or a namespace, are for a chart that is not there.
    pub(super) fn charts(mut self, namespaces: &BTreeMap<String, String>) -> Result<Vec<Chart>, String> {
        let there = self.charts.keys().cloned().collect::<Vec<_>>();
        let lacks = |name: &str| match there.as_slice() {
            [] => format!("there is no chart {name}, nor any other one"),
            others => format!("there is no chart {name}, but {}", others.join(", ")),
        };
        if let Some(name) = namespaces.keys().find(|name| !self.charts.contains_key(*name)) {
            return Err(format!("extension_chart_namespaces: {}", lacks(name)));
        }
        let mut charts = Vec::new();
        for (name, path) in self.charts {
            let values = self.values.remove(&name).map(|(_, text)| text).unwrap_or_default();
            let namespace = namespaces.get(&name).map_or("default", String::as_str).to_owned();
            charts.push(Chart { path, name, namespace, values });
        }
        match self.values.pop_first() {
            Some((name, (path, _))) => Err(format!("{}: {}", path.display(), lacks(&name))),
            None => Ok(charts),
        }
    }
}

#[cfg(test)]
#[path = "charts_tests.rs"]
mod tests;
