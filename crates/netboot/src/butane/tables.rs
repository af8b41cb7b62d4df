//! The keys of Butane configurations: `fcos` 1.1.0 to 1.7.0 and `flatcar` 1.0.0 and 1.1.0, as Butane's specifications list them
//! (docs/config-fcos-v1_*.md, docs/config-flatcar-v1_*.md). A generation is that of the base which variants share (base/v0_N).

use crate::mode::Of;
use crate::shape::Shape::{List, Map, Mode, NotFollowed, Text, Truth, Whole};
use crate::shape::Unique::{By, Nothing, Value};
use crate::shape::{Field, Object, field};
use crate::texts;

/// The whole of a configuration for Fedora CoreOS.
pub(crate) const FCOS: Object = Object { what: "the configuration", fields: &FCOS_FIELDS };
/// The whole of a configuration for Flatcar.
pub(crate) const FLATCAR: Object = Object { what: "the configuration", fields: &COMMON };

const COMMON: [Field; 7] = [
    field("variant", Text(texts::any)),
    field("version", Text(texts::any)),
    field("ignition", Map(&IGNITION)),
    field("passwd", Map(&PASSWD)),
    field("storage", Map(&STORAGE)),
    field("systemd", Map(&SYSTEMD)),
    field("kernel_arguments", Map(&KERNEL_ARGUMENTS)).since(4),
];

const FCOS_FIELDS: [Field; 9] = [
    COMMON[0],
    COMMON[1],
    COMMON[2],
    COMMON[3],
    COMMON[4],
    COMMON[5],
    COMMON[6],
    field(
        "boot_device",
        NotFollowed("it lays out the disk that a machine boots from, and this one boots from the network. Leave it out"),
    )
    .since(3),
    field(
        "grub",
        NotFollowed("it protects the boot loader on a disk, and this machine boots from the network. Leave it out"),
    )
    .since(4),
];

const IGNITION: Object = Object {
    what: "the section ignition",
    fields: &[
        field("config", Map(&CONFIG)),
        field("timeouts", Map(&TIMEOUTS)),
        field("security", Map(&SECURITY)),
        field("proxy", Map(&PROXY)),
    ],
};

const CONFIG: Object = Object {
    what: "ignition.config",
    fields: &[field("merge", List(&Map(&RESOURCE), Nothing)), field("replace", Map(&RESOURCE))],
};

/// How long Ignition waits, the same in the old format.
pub(crate) const TIMEOUTS: Object = Object {
    what: "ignition.timeouts",
    fields: &[field("http_response_headers", Whole), field("http_total", Whole)],
};

const SECURITY: Object = Object { what: "ignition.security", fields: &[field("tls", Map(&TLS))] };

const TLS: Object = Object {
    what: "ignition.security.tls",
    fields: &[field("certificate_authorities", List(&Map(&RESOURCE), By("source")))],
};

const PROXY: Object = Object {
    what: "ignition.proxy",
    fields: &[
        field("http_proxy", Text(texts::http_url)),
        field("https_proxy", Text(texts::http_url)),
        field("no_proxy", List(&Text(texts::any), Value)),
    ],
};

/// Something with a content: given here, beside this file, or fetched by Ignition.
const RESOURCE: Object = Object {
    what: "a content",
    fields: &[
        field("source", Text(texts::url)),
        field("inline", Text(texts::any)),
        field("local", Text(texts::local)),
        field("compression", Text(texts::compression)),
        field("http_headers", List(&Map(&HTTP_HEADER), By("name"))),
        field("verification", Map(&VERIFICATION)),
    ],
};

const HTTP_HEADER: Object = Object {
    what: "a header of HTTP",
    fields: &[field("name", Text(texts::any)).needed("Authorization"), field("value", Text(texts::any))],
};

/// The hash of a content, with its kind in front.
pub(crate) const VERIFICATION: Object =
    Object { what: "a verification", fields: &[field("hash", Text(texts::hash))] };

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
        field("ssh_authorized_keys_local", List(&Text(texts::local), Value)).since(5),
        field("uid", Whole),
        field("gecos", Text(texts::any)),
        field("home_dir", Text(texts::path)),
        field("no_create_home", Truth),
        field("primary_group", Text(texts::any)),
        field("groups", List(&Text(texts::account), Value)),
        field("no_user_group", Truth),
        field("no_log_init", Truth),
        field("shell", Text(texts::path)),
        field("should_exist", Truth).since(3),
        field("system", Truth),
    ],
};

const GROUP: Object = Object {
    what: "a group",
    fields: &[
        field("name", Text(texts::account)).needed("name: docker"),
        field("gid", Whole),
        field("password_hash", Text(texts::any)),
        field("should_exist", Truth).since(3),
        field("system", Truth),
    ],
};

const STORAGE: Object = Object {
    what: "the section storage",
    fields: &[
        field("disks", List(&Map(&DISK), By("device"))),
        field("raid", List(&Map(&RAID), By("name"))),
        field("filesystems", List(&Map(&FILESYSTEM), By("device"))),
        field("files", List(&Map(&FILE), Nothing)),
        field("directories", List(&Map(&DIRECTORY), Nothing)),
        field("links", List(&Map(&LINK), Nothing)),
        field("luks", List(&Map(&LUKS), By("name"))).since(3),
        field("trees", List(&Map(&TREE), Nothing)),
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
        field("size_mib", Whole),
        field("start_mib", Whole),
        field("type_guid", Text(texts::guid)),
        field("guid", Text(texts::guid)),
        field("wipe_partition_entry", Truth),
        field("should_exist", Truth),
        field("resize", Truth).since(3),
    ],
};

/// A RAID, the same in the old format.
pub(crate) const RAID: Object = Object {
    what: "a RAID",
    fields: &[
        field("name", Text(texts::any)).needed("name: data"),
        field("level", Text(texts::raid_level)).needed("level: raid1"),
        field("devices", List(&Text(texts::path), Value)).needed("devices: [/dev/vda, /dev/vdb]"),
        field("spares", Whole),
        field("options", List(&Text(texts::any), Nothing)),
    ],
};

const FILESYSTEM: Object = Object {
    what: "a file system",
    fields: &[
        field("device", Text(texts::path)).needed("device: /dev/vda1"),
        field("format", Text(texts::format)),
        field("path", Text(texts::path)),
        field("wipe_filesystem", Truth),
        field("label", Text(texts::any)),
        field("uuid", Text(texts::any)),
        field("options", List(&Text(texts::any), Nothing)),
        field("mount_options", List(&Text(texts::any), Nothing)),
        field("with_mount_unit", Truth),
    ],
};

const FILE: Object = Object {
    what: "a file",
    fields: &[
        field("path", Text(texts::path)).needed("path: /etc/motd"),
        field("overwrite", Truth),
        field("contents", Map(&RESOURCE)),
        field("append", List(&Map(&RESOURCE), Nothing)),
        field("mode", Mode(Of::File)),
        field("user", Map(&OWNER)),
        field("group", Map(&OWNER)),
    ],
};

const DIRECTORY: Object = Object {
    what: "a directory",
    fields: &[
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
        field("path", Text(texts::path)).needed("path: /etc/localtime"),
        field("overwrite", Truth),
        field("target", Text(texts::any)),
        field("hard", Truth),
        field("user", Map(&OWNER)),
        field("group", Map(&OWNER)),
    ],
};

/// Whose something is, the same in the old format.
pub(crate) const OWNER: Object =
    Object { what: "an owner", fields: &[field("id", Whole), field("name", Text(texts::any))] };

const LUKS: Object = Object {
    what: "a LUKS volume",
    fields: &[
        field("name", Text(texts::volume)).needed("name: data"),
        field("device", Text(texts::path)).needed("device: /dev/vda1"),
        field("key_file", Map(&RESOURCE)),
        field("label", Text(texts::any)),
        field("uuid", Text(texts::any)),
        field("options", List(&Text(texts::any), Nothing)),
        field("discard", Truth).since(5),
        field("open_options", List(&Text(texts::any), Nothing)).since(5),
        field("wipe_volume", Truth),
        field(
            "clevis",
            NotFollowed(
                "it binds a disk to a TPM or a Tang server; use key_file, or leave the disk to its owner",
            ),
        ),
        field("cex", NotFollowed("it is for mainframes. Leave it out")).since(6),
    ],
};

const TREE: Object = Object {
    what: "a tree",
    fields: &[
        field("local", Text(texts::local)).needed("local: etc"),
        field("path", Text(texts::path)),
        field("user", Map(&OWNER)).since(7),
        field("group", Map(&OWNER)).since(7),
        field("file_mode", Mode(Of::File)).since(7),
        field("dir_mode", Mode(Of::Directory)).since(7),
    ],
};

const SYSTEMD: Object =
    Object { what: "the section systemd", fields: &[field("units", List(&Map(&UNIT), By("name")))] };

const UNIT: Object = Object {
    what: "a unit",
    fields: &[
        field("name", Text(texts::unit)).needed("name: docker.service"),
        field("enabled", Truth),
        field("mask", Truth),
        field("contents", Text(texts::any)),
        field("contents_local", Text(texts::local)).since(5),
        field("dropins", List(&Map(&DROPIN), By("name"))),
    ],
};

const DROPIN: Object = Object {
    what: "a drop-in",
    fields: &[
        field("name", Text(texts::dropin)).needed("name: 10-proxy.conf"),
        field("contents", Text(texts::any)),
        field("contents_local", Text(texts::local)).since(5),
    ],
};

const KERNEL_ARGUMENTS: Object = Object {
    what: "the section kernel_arguments",
    fields: &[
        field(
            "should_exist",
            NotFollowed(
                "Ignition would change the boot loader on a disk, and this machine boots from the network. Set the variable \
                 netboot_kernel_arguments",
            ),
        ),
        field(
            "should_not_exist",
            NotFollowed(
                "Ignition would change the boot loader on a disk, and this machine boots from the network. Set the variable \
                 netboot_kernel_arguments",
            ),
        ),
    ],
};
