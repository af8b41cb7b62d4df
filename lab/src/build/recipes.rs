//! The recipes: which programs are compiled from which Go modules, and the files that pin what those require.

use indexmap::IndexMap;
use serde::Deserialize;

use super::BuildError;

/// One recipe's folder with its files, embedded in the program.
macro_rules! pinned {
    ($folder:literal: $($file:literal),+) => {
        ($folder, &[$(($file, include_str!(concat!("../../recipes/", $folder, "/", $file)))),+])
    };
}

/// A file of a recipe: its path below the recipe's folder, and its content.
pub(super) type RecipeFile = (&'static str, &'static str);

/// The recipes whose requirements are pinned, by folder.
const PINNED: &[(&str, &[RecipeFile])] = &[
    pinned!("pause-1": "go.mod", "main.go"),
    pinned!("runc-1.4.3": "go.mod", "go.sum", "tools.go"),
    pinned!("flannel-cni-0.9.1": "go.mod", "go.sum", "tools.go"),
    pinned!("cni-plugins-1.9.1": "go.mod", "go.sum", "tools.go"),
    pinned!("etcd-3.6.14": "go.mod", "go.sum", "tools.go"),
    pinned!("containerd-2.2.1": "go.mod", "go.sum", "tools.go"),
    pinned!("flannel-0.28.4": "go.mod", "go.sum", "tools.go",
        "tencentcloud/common/go.mod", "tencentcloud/common/pointers.go", "tencentcloud/common/errors/errors.go",
        "tencentcloud/vpc/go.mod", "tencentcloud/vpc/v20170312/vpc.go"),
    pinned!("coredns-1.14.2": "go.mod", "go.sum", "tools.go"),
    pinned!("helm-4.3.2": "go.mod", "go.sum", "tools.go"),
    pinned!("docker-28.5.2+incompatible": "go.mod", "go.sum", "tools.go", "rosetta/go.mod", "rosetta/rosetta.go"),
    pinned!("kube-router-2.1.0": "go.mod", "go.sum", "tools.go"),
    pinned!("cilium-1.20.2": "go.mod", "go.sum", "tools.go", "mcs-api/go.mod", "mcs-api/controllers.go"),
    pinned!("registry-3.1.2": "go.mod", "go.sum", "tools.go"),
    pinned!("node-exporter-1.12.1": "go.mod", "go.sum", "tools.go"),
    pinned!("prometheus-0.316.0": "go.mod", "go.sum", "tools.go"),
    pinned!("alertmanager-0.35.0": "go.mod", "go.sum", "tools.go", "alertmanager/ui/app/dist/nothing.txt"),
    pinned!("metallb-0.15.2": "go.mod", "go.sum", "tools.go"),
    pinned!("traefik-3.7.13": "go.mod", "go.sum", "tools.go", "ext/go.mod", "ext/ext.go",
        "go-http-auth/go.mod", "go-http-auth/muster.go", "lego/providers/dns/providers.go"),
    pinned!("snapshot-controller-8.6.0": "go.mod", "go.sum", "tools.go"),
    pinned!("source-controller-1.9.6": "go.mod", "go.sum", "tools.go", "helmtestserver/go.mod",
        "helmtestserver/helmtestserver.go"),
    pinned!("kustomize-controller-1.9.6": "go.mod", "go.sum", "tools.go"),
    pinned!("metrics-server-0.9.0": "go.mod", "go.sum", "tools.go"),
    pinned!("local-path-provisioner-0.0.30": "go.mod", "go.sum", "tools.go"),
    pinned!("headlamp-0.14.0": "go.mod", "main.go", "package.json", "package-lock.json", "index.html", "main.jsx",
        "vite.config.mjs", "nothing/package.json"),
    pinned!("kubernetes-1.36.3": "go.mod", "go.sum", "tools.go"),
    pinned!("etcd-3.7.3": "go.mod", "go.sum", "tools.go"),
    pinned!("coredns-1.14.6": "go.mod", "go.sum", "tools.go"),
    pinned!("kubernetes-1.37.2": "go.mod", "go.sum", "tools.go"),
    pinned!("kubernetes-1.31.14": "go.mod", "go.sum", "tools.go"),
];

/// The text of `recipes.yml`.
const TEXT: &str = include_str!("../../recipes/recipes.yml");

/// Programs that come from the same modules and are compiled in one go. The fields are explained in `recipes.yml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Group {
    pub(super) modules: Vec<String>,
    pub(super) version: Option<String>,
    pub(super) staging: bool,
    pub(super) replace: IndexMap<String, String>,
    pub(super) copies: IndexMap<String, ModuleCopy>,
    pub(super) ldflags: String,
    pub(super) cgo: bool,
    pub(super) tags: String,
    pub(super) artifacts: IndexMap<String, Artifact>,
}

/// A copy of a module, for changes to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModuleCopy {
    /// `MODULE@vVERSION`.
    pub(super) module: String,
    /// Files and folders that are left out.
    #[serde(default)]
    pub(super) without: Vec<String>,
}

/// An artifact of the catalogue, as it comes out of a group: an archive, a file or a folder of the module, an image, or the program
/// itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Artifact {
    pub(super) archive: Option<String>,
    pub(super) file: Option<String>,
    pub(super) joined: Option<String>,
    pub(super) folder: Option<String>,
    pub(super) image: Option<ImageRecipe>,
    #[serde(default)]
    pub(super) programs: IndexMap<String, String>,
}

/// An image with programs, or with one of a Debian package.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImageRecipe {
    pub(super) path: String,
    #[serde(default)]
    pub(super) arguments: Vec<String>,
    #[serde(default)]
    pub(super) user: String,
    #[serde(default)]
    pub(super) base: bool,
    pub(super) packages: Option<String>,
    pub(super) pages: Option<String>,
    #[serde(default)]
    pub(super) files: IndexMap<String, String>,
    #[serde(default)]
    pub(super) links: IndexMap<String, String>,
}

impl ImageRecipe {
    /// Whether a layer of Debian packages is in it.
    pub(super) fn has_debian_layer(&self) -> bool {
        self.base || self.packages.is_some()
    }
}

impl Artifact {
    /// Whether files of the module are in it as they are.
    pub(super) fn has_sources(&self) -> bool {
        let of_image = self.image.as_ref().is_some_and(|image| !image.files.is_empty());
        self.file.is_some() || self.joined.is_some() || self.folder.is_some() || of_image
    }
}

impl Group {
    /// Whether anything is compiled for it.
    pub(super) fn has_programs(&self) -> bool {
        self.artifacts.values().any(|artifact| !artifact.programs.is_empty())
    }
}

/// All groups by name, in the order in which they are built.
pub(super) fn groups() -> Result<IndexMap<String, Group>, BuildError> {
    serde_saphyr::from_str(TEXT).map_err(|error| BuildError::Recipes { message: error.to_string() })
}

/// The files of a group's recipe; `None` if nothing pins that version.
pub(super) fn pinned(folder: &str) -> Option<&'static [RecipeFile]> {
    PINNED.iter().find(|(name, _)| *name == folder).map(|(_, files)| *files)
}

/// Files that every version of a group needs, from whichever version is pinned: what `replace` points at.
pub(super) fn replacements(group: &str) -> impl Iterator<Item = &'static RecipeFile> + '_ {
    let of_group = move |folder: &str| folder.rsplit_once('-').is_some_and(|(name, _)| name == group);
    let files = PINNED.iter().filter(move |(folder, _)| of_group(folder)).flat_map(|(_, files)| *files);
    files.filter(|(path, _)| path.contains('/'))
}

/// The file name that `go build` gives a program: the last part of its import path that is not a major version.
pub(super) fn output_name(package: &str) -> &str {
    let is_major = |part: &str| part.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok());
    package.rsplit('/').find(|part| !is_major(part)).unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_recipe_pins_what_it_requires() {
        let groups = groups().unwrap();
        for (name, _) in groups.iter().filter(|(_, group)| group.has_programs()) {
            let is_pinned =
                |(folder, _): &(&str, _)| folder.rsplit_once('-').is_some_and(|(of, _)| of == name);
            assert!(PINNED.iter().any(is_pinned), "{name} has no pinned version");
        }
        for (folder, files) in PINNED {
            let (name, version) = folder.rsplit_once('-').unwrap();
            let group = &groups[name];
            let text = |path: &str| files.iter().find(|(name, _)| *name == path).map_or("", |(_, text)| text);
            for module in &group.modules {
                assert!(text("go.mod").contains(&format!("{module} v{version}\n")), "{folder}: {module}");
                // A copy of it has no sum there; what it is a copy of is compared with the checksum database.
                let is_copy = group.replace.contains_key(module);
                let sum = format!("{module} v{version} h1:");
                assert!(is_copy || text("go.sum").contains(&sum), "{folder}: {module}");
            }
            for package in group.artifacts.values().flat_map(|artifact| artifact.programs.values()) {
                let own = group.modules.is_empty();
                assert!(own || text("tools.go").contains(&format!("\"{package}\"")), "{folder}: {package}");
            }
        }
    }

    #[test]
    fn output_is_named_as_go_names_it() {
        assert_eq!(output_name("go.etcd.io/etcd/server/v3"), "server");
        assert_eq!(output_name("k8s.io/kubernetes/cmd/kubeadm"), "kubeadm");
        assert_eq!(output_name("github.com/containernetworking/plugins/plugins/main/vlan"), "vlan");
    }
}
