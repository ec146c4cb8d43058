//! Volumes, claims and classes.

use serde_json::Value;

use super::text::{UNSET, count, items, quantity, text, text_or};
use super::{Heading, Row};

const MODE: Heading = Heading::wide("VolumeMode");

/// The phase, unless the object is going.
fn phase(object: &Value) -> &str {
    if object["metadata"]["deletionTimestamp"].is_null() {
        text(&object["status"]["phase"])
    } else {
        "Terminating"
    }
}

/// The access modes in short, each once.
fn access_modes(modes: &Value) -> String {
    let short = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let has = |mode: &str| items(modes).iter().any(|one| one == mode);
    let modes: Vec<&str> = short.into_iter().filter(|(mode, _)| has(mode)).map(|(_, short)| short).collect();
    modes.join(",")
}

/// The storage class, which old objects have in an annotation.
fn class(object: &Value) -> &str {
    let annotation = &object["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"];
    text_or(annotation, text(&object["spec"]["storageClassName"]))
}

pub(super) const VOLUME: &[Heading] = &[
    Heading::NAME,
    Heading::text("Capacity"),
    Heading::text("Access Modes"),
    Heading::text("Reclaim Policy"),
    Heading::text("Status"),
    Heading::text("Claim"),
    Heading::text("StorageClass"),
    Heading::text("VolumeAttributesClass"),
    Heading::text("Reason"),
    Heading::AGE,
    MODE,
];

pub(super) fn volume(row: &mut Row<'_>) {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    row.name();
    row.put(quantity(&spec["capacity"]["storage"], "0"));
    row.put(access_modes(&spec["accessModes"]));
    row.put(text(&spec["persistentVolumeReclaimPolicy"]));
    row.put(phase(row.object));
    let claim = &spec["claimRef"];
    let claimed = claim.is_object();
    row.put(if claimed {
        format!("{}/{}", text(&claim["namespace"]), text(&claim["name"]))
    } else {
        String::new()
    });
    row.put(class(row.object));
    row.put(text_or(&spec["volumeAttributesClassName"], UNSET));
    row.put(text(&status["reason"]));
    row.age();
    row.put(text_or(&spec["volumeMode"], UNSET));
}

pub(super) const CLAIM: &[Heading] = &[
    Heading::NAME,
    Heading::text("Status"),
    Heading::text("Volume"),
    Heading::text("Capacity"),
    Heading::text("Access Modes"),
    Heading::text("StorageClass"),
    Heading::text("VolumeAttributesClass"),
    Heading::AGE,
    MODE,
];

pub(super) fn claim(row: &mut Row<'_>) {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    let volume = text(&spec["volumeName"]);
    row.name();
    row.put(phase(row.object));
    row.put(volume);
    // What was promised counts once a volume is bound.
    let bound = !volume.is_empty();
    row.put(if bound { quantity(&status["capacity"]["storage"], "0") } else { String::new() });
    row.put(if bound { access_modes(&status["accessModes"]) } else { String::new() });
    row.put(class(row.object));
    row.put(text_or(&spec["volumeAttributesClassName"], UNSET));
    row.age();
    row.put(text_or(&spec["volumeMode"], UNSET));
}

pub(super) const CLASS: &[Heading] = &[
    Heading::NAME,
    Heading::text("Provisioner"),
    Heading::text("ReclaimPolicy"),
    Heading::text("VolumeBindingMode"),
    Heading::text("AllowVolumeExpansion"),
    Heading::AGE,
];

/// The name, which says where the class is the default one.
fn default_name(row: &mut Row<'_>, prefixes: &[&str]) {
    let metadata = &row.object["metadata"];
    let default = prefixes.iter().any(|key| metadata["annotations"][*key] == "true");
    row.put(format!("{}{}", text(&metadata["name"]), if default { " (default)" } else { "" }));
}

pub(super) fn storage_class(row: &mut Row<'_>) {
    let class = row.object;
    default_name(
        row,
        &["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"],
    );
    row.put(text(&class["provisioner"]));
    row.put(text_or(&class["reclaimPolicy"], "Delete"));
    row.put(text_or(&class["volumeBindingMode"], "Immediate"));
    row.put(class["allowVolumeExpansion"] == true);
    row.age();
}

pub(super) const ATTRIBUTES_CLASS: &[Heading] = &[Heading::NAME, Heading::text("DriverName"), Heading::AGE];

pub(super) fn attributes_class(row: &mut Row<'_>) {
    default_name(row, &["volumeattributesclass.kubernetes.io/is-default-class"]);
    row.put(text(&row.object["driverName"]));
    row.age();
}

pub(super) const ATTACHMENT: &[Heading] = &[
    Heading::NAME,
    Heading { format: "name", ..Heading::text("Attacher") },
    Heading::text("PV"),
    Heading::text("Node"),
    Heading::flag("Attached"),
    Heading::AGE,
];

pub(super) fn attachment(row: &mut Row<'_>) {
    let spec = &row.object["spec"];
    row.name();
    row.put(text(&spec["attacher"]));
    row.put(text(&spec["source"]["persistentVolumeName"]));
    row.put(text(&spec["nodeName"]));
    row.put(row.object["status"]["attached"] == true);
    row.age();
}

pub(super) const CSI_NODE: &[Heading] = &[Heading::NAME, Heading::number("Drivers"), Heading::AGE];

pub(super) fn csi_node(row: &mut Row<'_>) {
    row.name();
    row.put(count(&row.object["spec"]["drivers"]));
    row.age();
}

pub(super) const CSI_DRIVER: &[Heading] = &[
    Heading::NAME,
    Heading::flag("AttachRequired"),
    Heading::flag("PodInfoOnMount"),
    Heading::flag("StorageCapacity"),
    Heading::text("TokenRequests"),
    Heading::flag("RequiresRepublish"),
    Heading::text("Modes"),
    Heading::AGE,
];

pub(super) fn csi_driver(row: &mut Row<'_>) {
    let spec = &row.object["spec"];
    let list = |texts: Vec<&str>, otherwise: &str| {
        if texts.is_empty() { otherwise.to_owned() } else { texts.join(",") }
    };
    row.name();
    row.put(spec["attachRequired"] != false);
    row.put(spec["podInfoOnMount"] == true);
    row.put(spec["storageCapacity"] == true);
    row.put(list(items(&spec["tokenRequests"]).iter().map(|one| text(&one["audience"])).collect(), UNSET));
    row.put(spec["requiresRepublish"] == true);
    row.put(list(items(&spec["volumeLifecycleModes"]).iter().map(text).collect(), super::text::NONE));
    row.age();
}

pub(super) const CSI_CAPACITY: &[Heading] =
    &[Heading::NAME, Heading::text("StorageClassName"), Heading::text("Capacity")];

pub(super) fn csi_capacity(row: &mut Row<'_>) {
    row.name();
    row.put(text(&row.object["storageClassName"]));
    row.put(quantity(&row.object["capacity"], UNSET));
}
