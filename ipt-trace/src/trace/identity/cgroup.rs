//! Which container or unit a cgroup belongs to, by the names that container runtimes and systemd
//! give to cgroups.

use crate::trace::event::Container;

/// Whom a cgroup belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The container, if the path names one.
    pub container: Option<Container>,
    /// The systemd unit, if the path names one.
    pub unit: Option<String>,
}

/// Prefixes of a scope's name and the runtime that gives it. The conmon of a podman container runs
/// beside it, not in it.
const SCOPES: [(&str, &str); 7] = [
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("docker-", "docker"),
    ("crio-", "cri-o"),
    ("libpod-", "podman"),
    ("lxc.payload.", "lxc"),
    ("machine-", "nspawn"),
];

/// Folders whose entries are containers.
const FOLDERS: [(&str, &str); 4] = [
    ("docker", "docker"),
    ("libpod_parent", "podman"),
    ("lxc", "lxc"),
    ("lxc.payload", "lxc"),
];

/// Reads the path of a cgroup, like `/system.slice/docker-0123….scope`.
pub fn owner(path: &str) -> Owner {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let pod = parts.iter().find_map(|part| pod(part));
    let named = parts.iter().enumerate().rev().find_map(|(place, part)| {
        let before = place.checked_sub(1).map(|before| parts[before]);
        named(before, part, pod.is_some())
    });
    let container = named.map(|(runtime, id)| Container {
        runtime: runtime.to_owned(),
        id: id.to_owned(),
        pod: pod.clone(),
    });
    let is_unit = |part: &&&str| {
        let kind = part.rsplit_once('.').map(|(_, kind)| kind);
        matches!(kind, Some("service" | "scope" | "socket"))
    };
    let unit = parts.iter().rev().find(is_unit);
    Owner {
        unit: unit
            .filter(|_| container.is_none())
            .map(|unit| (*unit).to_owned()),
        container,
    }
}

/// The runtime and id of the container that a part of the path names.
fn named<'a>(before: Option<&str>, part: &'a str, in_pod: bool) -> Option<(&'static str, &'a str)> {
    let bare = part.strip_suffix(".scope").unwrap_or(part);
    let scope = SCOPES.iter().find_map(|(prefix, runtime)| {
        let id = bare.strip_prefix(prefix)?;
        // systemd puts virtual machines and nspawn containers into machine-NAME.scope; podman's
        // monitor is libpod-conmon-ID.scope.
        let fits = match *runtime {
            "nspawn" => bare != part,
            "lxc" => true,
            _ => is_id(id),
        };
        fits.then_some((*runtime, id))
    });
    let folder = || {
        let before = before?;
        let (_, runtime) = FOLDERS.iter().find(|(folder, _)| *folder == before)?;
        (*runtime == "lxc" || is_id(bare)).then_some((*runtime, bare))
    };
    // containerd names the unified cgroups of a pod's containers by their ids alone; others put a
    // prefix before a colon (`kubepods-…:cri-containerd:ID`).
    let plain = || {
        let id = bare.rsplit(':').next()?;
        let runtime = if bare.contains(":cri-containerd:") {
            "containerd"
        } else if in_pod {
            "kubernetes"
        } else {
            return None;
        };
        is_id(id).then_some((runtime, id))
    };
    scope.or_else(folder).or_else(plain)
}

/// Whether this looks like the id of a container: 32 hexadecimal digits or more.
fn is_id(text: &str) -> bool {
    text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The uid of the pod that a part of the path names: `kubepods-burstable-pod0123_….slice` or
/// `pod0123-…`.
fn pod(part: &str) -> Option<String> {
    let bare = part.strip_suffix(".slice").unwrap_or(part);
    let uid = match bare.strip_prefix("kubepods") {
        Some(rest) => rest.rsplit_once("-pod")?.1,
        None => bare.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    let looks_right = uid.len() >= 32
        && uid
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    looks_right.then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::{Owner, owner};

    const ID: &str = "4f1e8c0d2b3a495867a9b0c1d2e3f405162738495a6b7c8d9e0f1a2b3c4d5e6f";
    const POD: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";

    /// Runtime, id and pod, or the unit.
    fn read(path: &str) -> String {
        let path = path
            .replace("ID", ID)
            .replace("POD_", &POD.replace('-', "_"))
            .replace("POD", POD);
        match owner(&path) {
            Owner {
                container: Some(container),
                unit: None,
            } => {
                let id = container.id.replace(ID, "ID");
                let pod = container.pod.map_or_else(String::new, |pod| {
                    format!(" in {}", pod.replace(POD, "POD"))
                });
                format!("{} {id}{pod}", container.runtime)
            }
            Owner {
                container: None,
                unit: Some(unit),
            } => format!("unit {unit}"),
            Owner {
                container: None,
                unit: None,
            } => "none".to_owned(),
            both => panic!("{both:?}"),
        }
    }

    #[test]
    fn each_runtimes_names_are_known() {
        for (path, expected) in [
            ("/system.slice/docker-ID.scope", "docker ID"),
            ("/docker/ID", "docker ID"),
            ("/docker/ID/init.scope", "docker ID"),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podPOD_.slice/cri-containerd-ID.scope",
                "containerd ID in POD",
            ),
            (
                "/kubepods.slice/kubepods-podPOD_.slice/crio-ID.scope",
                "cri-o ID in POD",
            ),
            ("/kubepods/besteffort/podPOD/ID", "kubernetes ID in POD"),
            (
                "/system.slice/containerd.service/kubepods-besteffort-podPOD_.slice:cri-containerd:ID",
                "containerd ID",
            ),
            ("/machine.slice/libpod-ID.scope/container", "podman ID"),
            (
                "/machine.slice/libpod-conmon-ID.scope",
                "unit libpod-conmon-ID.scope",
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
                "podman ID",
            ),
            ("/lxc/web/ns", "lxc web"),
            ("/lxc.payload.web", "lxc web"),
            ("/machine.slice/machine-web.scope/payload", "nspawn web"),
            ("/system.slice/firewalld.service", "unit firewalld.service"),
            (
                "/user.slice/user-0.slice/session-3.scope",
                "unit session-3.scope",
            ),
            ("/", "none"),
            ("", "none"),
            ("/docker", "none"),
            ("/docker/builder", "none"),
        ] {
            let expected = expected.replace("conmon-ID", &format!("conmon-{ID}"));
            assert_eq!(read(path), expected, "{path}");
        }
    }
}
