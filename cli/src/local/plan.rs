//! What the inner process is to do, as it travels to it.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One containment and the command in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Where to listen inside. The order is kept in [`super::Contained::listeners`].
    pub(crate) listeners: Vec<ListenSpec>,
    /// Whether to listen on 127.0.0.1:53 as well, UDP and TCP.
    pub(crate) dns: bool,
    /// The program, looked up in the `PATH` of [`Plan::env`], and its arguments.
    pub(crate) command: Vec<OsString>,
    /// The whole environment of the command; nothing else is inherited.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Where the command starts.
    #[serde(with = "octets::path")]
    pub(crate) working_dir: PathBuf,
    /// Files that read differently inside.
    pub(crate) files: Vec<BoundFile>,
    /// Directories that hold something else inside.
    pub(crate) dirs: Vec<OwnDir>,
    /// Directories and files that cannot even be listed or read inside. Each must exist by now: one made later
    /// would be in full view.
    #[serde(with = "octets::paths")]
    pub(crate) hide: Vec<PathBuf>,
}

/// A socket address inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct ListenSpec {
    /// A synthetic address, or one in 127/8.
    pub(crate) addr: Ipv4Addr,
    /// TCP port.
    pub(crate) port: u16,
}

impl ListenSpec {
    /// For `bind`.
    pub(crate) fn socket_addr(self) -> SocketAddrV4 {
        SocketAddrV4::new(self.addr, self.port)
    }
}

/// A read-only file bound over another. Where the target is a symbolic link, what it leads to is covered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BoundFile {
    /// The file to cover.
    #[serde(with = "octets::path")]
    pub(crate) target: PathBuf,
    /// What is read there inside.
    #[serde(with = "octets::content")]
    pub(crate) content: Vec<u8>,
    /// Whether a missing target is an error; else it stays missing, since nothing is ever made on the host.
    pub(crate) required: bool,
}

/// A read-only directory of ours over another, holding `files` and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnDir {
    /// The directory to cover; made, empty, where it is missing.
    #[serde(with = "octets::path")]
    pub(crate) target: PathBuf,
    /// Paths below the target, and their contents.
    pub(crate) files: Vec<OwnFile>,
}

/// A file of an [`OwnDir`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnFile {
    /// Path below the directory.
    #[serde(with = "octets::path")]
    pub(crate) path: PathBuf,
    /// What is read there.
    #[serde(with = "octets::content")]
    pub(crate) content: Vec<u8>,
}

/// Paths and contents are bytes, not text: JSON carries them in base64.
mod octets {
    pub(super) mod content {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;
        use serde::{Deserialize, Deserializer, Serializer, de::Error};

        pub(in super::super) fn serialize<S: Serializer>(
            bytes: &[u8],
            to: S,
        ) -> Result<S::Ok, S::Error> {
            to.serialize_str(&STANDARD.encode(bytes))
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Vec<u8>, D::Error> {
            STANDARD
                .decode(String::deserialize(from)?)
                .map_err(D::Error::custom)
        }
    }

    pub(super) mod path {
        use std::ffi::OsString;
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        use std::path::{Path, PathBuf};

        use serde::{Deserializer, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(
            path: &Path,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            super::content::serialize(path.as_os_str().as_bytes(), to)
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<PathBuf, D::Error> {
            super::content::deserialize(from).map(|bytes| OsString::from_vec(bytes).into())
        }
    }

    pub(super) mod paths {
        use std::path::PathBuf;

        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        #[derive(Serialize, Deserialize)]
        struct One(#[serde(with = "super::path")] PathBuf);

        pub(in super::super) fn serialize<S: Serializer>(
            paths: &[PathBuf],
            to: S,
        ) -> Result<S::Ok, S::Error> {
            to.collect_seq(paths.iter().cloned().map(One))
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Vec<PathBuf>, D::Error> {
            Ok(Vec::<One>::deserialize(from)?
                .into_iter()
                .map(|One(path)| path)
                .collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn plan_travels_unchanged_even_where_it_is_not_text() {
        let odd = OsString::from_vec(vec![b'/', 0xff, b'\n', b'"']);
        let plan = Plan {
            listeners: vec![ListenSpec {
                addr: Ipv4Addr::new(198, 18, 0, 1),
                port: 443,
            }],
            dns: true,
            command: vec!["sh".into(), odd.clone()],
            env: vec![("NAME".into(), odd.clone())],
            working_dir: odd.clone().into(),
            files: vec![BoundFile {
                target: odd.clone().into(),
                content: vec![0, 255],
                required: true,
            }],
            dirs: vec![OwnDir {
                target: odd.clone().into(),
                files: vec![OwnFile {
                    path: "a/b".into(),
                    content: vec![],
                }],
            }],
            hide: vec![odd.into(), "/root/.key".into()],
        };
        let bytes = serde_json::to_vec(&plan).unwrap();
        assert_eq!(serde_json::from_slice::<Plan>(&bytes).unwrap(), plan);
    }
}
