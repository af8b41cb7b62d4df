//! The keys of Container Linux Configs, the format before Butane (container-linux-config-transpiler 0.9, doc/configuration.md).

use crate::butane::tables::{OWNER, RAID, TIMEOUTS, VERIFICATION};
use crate::mode::Of;
use crate::shape::Shape::{List, Map, Mode, NotFollowed, Text, Truth, Whole};
use crate::shape::Unique::{By, Nothing, Value};
use crate::shape::{Object, field};
use crate::texts;

/// The whole of a configuration.
pub(crate) const CONFIGURATION: Object = Object {
    what: "the configuration",
    fields: &[
        field("ignition", Map(&IGNITION)),
        field("passwd", Map(&PASSWD)),
        field("storage", Map(&STORAGE)),
        field("systemd", Map(&SYSTEMD)),
        field("networkd", Map(&NETWORKD)),
        field("etcd", NotFollowed("setup-cluster sets up etcd where the inventory says so. Leave it out")),
        field("flannel", NotFollowed("setup-cluster sets up the network of pods. Leave it out")),
        field(
            "docker",
            NotFollowed(
                "setup-cluster sets up containerd. For Docker's own flags give docker.service a drop-in",
            ),
        ),
        field(
            "update",
            NotFollowed(
                "it was a shorthand for /etc/coreos/update.conf, which Flatcar reads as /etc/flatcar/update.conf. Write that file, \
                 with GROUP= and SERVER=, below storage.files",
            ),
        ),
        field(
            "locksmith",
            NotFollowed(
                "locksmith restarts machines that have updated themselves, without asking the cluster. Mask locksmithd.service \
                 below systemd.units",
            ),
        ),
    ],
};

const IGNITION: Object = Object {
    what: "the section ignition",
    fields: &[
        field("config", Map(&CONFIG)),
        field("timeouts", Map(&TIMEOUTS)),
        field("security", Map(&SECURITY)),
    ],
};

const CONFIG: Object = Object {
    what: "ignition.config",
    fields: &[field("append", List(&Map(&REFERENCE), Nothing)), field("replace", Map(&REFERENCE))],
};

const REFERENCE: Object = Object {
    what: "a reference",
    fields: &[
        field("source", Text(texts::url)).needed("source: http://192.0.2.1/more.ign"),
        field("verification", Map(&OLD_VERIFICATION)),
    ],
};

const SECURITY: Object = Object { what: "ignition.security", fields: &[field("tls", Map(&TLS))] };

const TLS: Object = Object {
    what: "ignition.security.tls",
    fields: &[field("certificate_authorities", List(&Map(&AUTHORITY), By("source")))],
};

const AUTHORITY: Object = Object {
    what: "a certificate authority",
    fields: &[
        field("source", Text(texts::url)).needed("source: https://192.0.2.1/ca.pem"),
        field("verification", Map(&VERIFICATION)),
    ],
};

const OLD_VERIFICATION: Object = Object { what: "a verification", fields: &[field("hash", Map(&HASH))] };

const HASH: Object = Object {
    what: "a hash",
    fields: &[
        field("function", Text(texts::hash_kind)).needed("function: sha512"),
        field("sum", Text(texts::any)).needed("the hexadecimal digits of it"),
    ],
};

const PASSWD: Object = Object {
    what: "the section passwd",
    fields: &[field("users", List(&Map(&USER), By("name"))), field("groups", List(&Map(&GROUP), By("name")))],
};

const USER: Object = Object {
    what: "a user",
    fields: &[
        field("name", Text(texts::account)).needed("name: core"),
        field("password_hash", Text(texts::any)),
        field("ssh_authorized_keys", List(&Text(texts::ssh_key), Value)),
        field("uid", Whole),
        field("gecos", Text(texts::any)),
        field("home_dir", Text(texts::path)),
        field("no_create_home", Truth),
        field("primary_group", Text(texts::any)),
        field("groups", List(&Text(texts::account), Value)),
        field("no_user_group", Truth),
        field("no_log_init", Truth),
        field("shell", Text(texts::path)),
        field("system", Truth),
        field("create", NotFollowed("it was deprecated. Write its keys directly below the user")),
    ],
};

const GROUP: Object = Object {
    what: "a group",
    fields: &[
        field("name", Text(texts::account)).needed("name: docker"),
        field("gid", Whole),
        field("password_hash", Text(texts::any)),
        field("system", Truth),
    ],
};

const STORAGE: Object = Object {
    what: "the section storage",
    fields: &[
        field("disks", List(&Map(&DISK), By("device"))),
        field("raid", List(&Map(&RAID), By("name"))),
        field("filesystems", List(&Map(&FILESYSTEM), By("name"))),
        field("files", List(&Map(&FILE), Nothing)),
        field("directories", List(&Map(&DIRECTORY), Nothing)),
        field("links", List(&Map(&LINK), Nothing)),
    ],
};

const DISK: Object = Object {
    what: "a disk",
    fields: &[
        field("device", Text(texts::path)).needed("device: /dev/vda"),
        field("wipe_table", Truth),
        field("partitions", List(&Map(&PARTITION), By("label"))),
    ],
};

const PARTITION: Object = Object {
    what: "a partition",
    fields: &[
        field("label", Text(texts::partition_label)),
        field("number", Whole),
        field("size", Text(texts::size)),
        field("start", Text(texts::size)),
        field("type_guid", Text(texts::type_guid)),
        field("guid", Text(texts::guid)),
    ],
};

const FILESYSTEM: Object = Object {
    what: "a file system",
    fields: &[field("name", Text(texts::any)), field("mount", Map(&MOUNT)), field("path", Text(texts::path))],
};

const MOUNT: Object = Object {
    what: "a mount",
    fields: &[
        field("device", Text(texts::path)).needed("device: /dev/vda1"),
        field("format", Text(texts::format)).needed("format: ext4"),
        field("wipe_filesystem", Truth),
        field("label", Text(texts::any)),
        field("uuid", Text(texts::any)),
        field("options", List(&Text(texts::any), Nothing)),
        field(
            "create",
            NotFollowed("it was deprecated. Write wipe_filesystem and options directly below mount"),
        ),
    ],
};

const FILE: Object = Object {
    what: "a file",
    fields: &[
        field("filesystem", Text(texts::any)),
        field("path", Text(texts::path)).needed("path: /etc/motd"),
        field("overwrite", Truth),
        field("append", Truth),
        field("contents", Map(&CONTENTS)),
        field("mode", Mode(Of::File)),
        field("user", Map(&OWNER)),
        field("group", Map(&OWNER)),
    ],
};

const CONTENTS: Object = Object {
    what: "a content",
    fields: &[
        field("inline", Text(texts::any)),
        field("local", Text(texts::local)),
        field("remote", Map(&REMOTE)),
    ],
};

const REMOTE: Object = Object {
    what: "a remote content",
    fields: &[
        field("url", Text(texts::url)).needed("url: http://192.0.2.1/file"),
        field("compression", Text(texts::compression)),
        field("verification", Map(&OLD_VERIFICATION)),
    ],
};

const DIRECTORY: Object = Object {
    what: "a directory",
    fields: &[
        field("filesystem", Text(texts::any)),
        field("path", Text(texts::path)).needed("path: /opt/bin"),
        field("overwrite", Truth),
        field("mode", Mode(Of::Directory)),
        field("user", Map(&OWNER)),
        field("group", Map(&OWNER)),
    ],
};

const LINK: Object = Object {
    what: "a link",
    fields: &[
        field("filesystem", Text(texts::any)),
        field("path", Text(texts::path)).needed("path: /etc/localtime"),
        field("overwrite", Truth),
        field("target", Text(texts::any)).needed("target: ../usr/share/zoneinfo/Europe/Warsaw"),
        field("hard", Truth),
        field("user", Map(&OWNER)),
        field("group", Map(&OWNER)),
    ],
};

const SYSTEMD: Object =
    Object { what: "the section systemd", fields: &[field("units", List(&Map(&UNIT), By("name")))] };

const UNIT: Object = Object {
    what: "a unit",
    fields: &[
        field("name", Text(texts::unit)).needed("name: docker.service"),
        field("enable", Truth),
        field("enabled", Truth),
        field("mask", Truth),
        field("contents", Text(texts::any)),
        field("dropins", List(&Map(&DROPIN), By("name"))),
    ],
};

const DROPIN: Object = Object {
    what: "a drop-in",
    fields: &[
        field("name", Text(texts::dropin)).needed("name: 10-proxy.conf"),
        field("contents", Text(texts::any)),
    ],
};

const NETWORKD: Object =
    Object { what: "the section networkd", fields: &[field("units", List(&Map(&NETWORK_UNIT), By("name")))] };

const NETWORK_UNIT: Object = Object {
    what: "a file of networkd",
    fields: &[
        field("name", Text(texts::network_unit)).needed("name: 00-lan.network"),
        field("contents", Text(texts::any)),
        field("dropins", List(&Map(&DROPIN), By("name"))),
    ],
};
