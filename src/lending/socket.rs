//! Where a server is found by its name, and who may talk to it: processes of the same user, and nobody else.

use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use interprocess::local_socket::prelude::*;
use interprocess::local_socket::{GenericFilePath, Listener, ListenerOptions, Stream};
use interprocess::os::unix::local_socket::ListenerOptionsExt;

use crate::process::is_taken;

/// A server's socket, and the lock that makes it the only one of its name.
#[derive(Debug)]
pub(super) struct Bound {
    listener: Listener,
    path: PathBuf,
    /// Held as long as the server runs. The file stays: whoever removed it might remove another one's.
    _lock: File,
}

/// Why a socket could not be had.
#[derive(Debug)]
pub(crate) enum SocketError {
    /// The name is none.
    Name(String),
    /// Somebody else serves under that name.
    Taken(PathBuf),
    /// Nobody does.
    Nobody(PathBuf),
    /// The directory is somebody else's, or others may write there.
    NotPrivate(PathBuf),
    /// It is another user's server.
    OtherUser(PathBuf),
    /// What the system says.
    System(PathBuf, io::Error),
}

impl std::fmt::Display for SocketError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SocketError::Name(name) => write!(
                f,
                "\"{}\" is no name for a server: use letters, digits, '-', '_' and '.', or a path",
                name.escape_debug()
            ),
            SocketError::Taken(path) => {
                write!(f, "another server has that name; its socket is {}", path.display())
            }
            SocketError::Nobody(path) => {
                write!(
                    f,
                    "no server has that name: start one with pool-run --serve; its socket would be {}",
                    path.display()
                )
            }
            SocketError::NotPrivate(path) => write!(
                f,
                "{} is not a directory of this user's that only he may use: remove it, or set XDG_RUNTIME_DIR",
                path.display()
            ),
            SocketError::OtherUser(path) => write!(f, "the server at {} is another user's", path.display()),
            SocketError::System(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for SocketError {}

/// A socket under that name, for a server.
pub(super) fn bind(name: &str) -> Result<Bound, SocketError> {
    let path = path_of(name)?;
    let failed = |error| SocketError::System(path.clone(), error);
    let lock_path = with_ending(&path, ".lock");
    let lock = File::options().write(true).create(true).truncate(false).open(lock_path).map_err(failed)?;
    if is_taken(&lock) {
        return Err(SocketError::Taken(path));
    }
    // Left by one that was killed: nobody listens there, for this process has the lock.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = path.as_path().to_fs_name::<GenericFilePath>().and_then(|name| {
        ListenerOptions::new().name(name).mode(0o600).nonblocking(ACCEPTS_AT_ONCE).create_sync()
    });
    Ok(Bound { listener: listener.map_err(failed)?, path, _lock: lock })
}

const ACCEPTS_AT_ONCE: interprocess::local_socket::ListenerNonblockingMode =
    interprocess::local_socket::ListenerNonblockingMode::Accept;

impl Bound {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        use std::os::fd::AsFd;
        let Listener::UdSocket(listener) = &self.listener;
        listener.as_fd()
    }

    /// The next one who has connected, with his process id; `None` if there is nobody. Others than this user are turned
    /// away.
    pub(super) fn accept(&self) -> io::Result<Option<(UnixStream, Option<u32>)>> {
        loop {
            let stream = match self.listener.accept() {
                Ok(stream) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            if let Some(pid) = same_user(&stream) {
                return Ok(Some((into_unix(stream), pid)));
            }
        }
    }
}

/// Connects to the server with that name.
pub(super) fn connect(name: &str) -> Result<UnixStream, SocketError> {
    let path = path_of(name)?;
    let stream = path.as_path().to_fs_name::<GenericFilePath>().and_then(Stream::connect);
    let stream = stream.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => SocketError::Nobody(path.clone()),
        _ => SocketError::System(path.clone(), error),
    })?;
    match same_user(&stream) {
        Some(_) => Ok(into_unix(stream)),
        None => Err(SocketError::OtherUser(path)),
    }
}

fn into_unix(stream: Stream) -> UnixStream {
    let Stream::UdSocket(stream) = stream;
    OwnedFd::from(stream).into()
}

/// The process at the other end, if the system tells; `None` if it is another user's.
fn same_user(stream: &Stream) -> Option<Option<u32>> {
    let credentials = stream.peer_creds().ok()?;
    let own = rustix::process::geteuid().as_raw();
    (credentials.euid() == Some(own)).then(|| credentials.pid().and_then(|pid| u32::try_from(pid).ok()))
}

/// A name's socket; one with a slash is a path itself.
fn path_of(name: &str) -> Result<PathBuf, SocketError> {
    if name.contains('/') {
        return Ok(name.into());
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.starts_with('.') || name.len() > 64 || !name.bytes().all(fits) {
        return Err(SocketError::Name(name.to_owned()));
    }
    let directory = directory();
    make_private(&directory)?;
    Ok(directory.join(format!("{name}.sock")))
}

/// The user's own directory for such things, which the system empties; else one among temporary files.
fn directory() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|path| Path::new(path).is_absolute()) {
        Some(path) => PathBuf::from(path).join("sidestep"),
        None => std::env::temp_dir().join(format!("sidestep-{}", rustix::process::geteuid().as_raw())),
    }
}

/// Makes the directory if it is missing. Whoever else could write there could stand in for a server.
fn make_private(directory: &Path) -> Result<(), SocketError> {
    let failed = |error| SocketError::System(directory.to_owned(), error);
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let found = directory.symlink_metadata().map_err(failed)?;
    let private = found.is_dir()
        && found.uid() == rustix::process::geteuid().as_raw()
        && found.mode().trailing_zeros() >= 6;
    if private { Ok(()) } else { Err(SocketError::NotPrivate(directory.to_owned())) }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(path);
    path.push(ending);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn name(folder: &tempfile::TempDir) -> String {
        folder.path().join("a.sock").to_str().unwrap().to_owned()
    }

    #[test]
    fn one_server_has_a_name_at_a_time() {
        let folder = folder();
        let name = name(&folder);
        assert!(matches!(connect(&name), Err(SocketError::Nobody(_))));
        let bound = bind(&name).unwrap();
        assert!(matches!(bind(&name), Err(SocketError::Taken(_))));
        drop(bound);
        assert!(matches!(connect(&name), Err(SocketError::Nobody(_))));
        bind(&name).unwrap();
    }

    #[test]
    fn what_a_killed_server_has_left_is_in_nobodys_way() {
        let folder = folder();
        let name = name(&folder);
        drop(std::os::unix::net::UnixListener::bind(&name).unwrap());
        assert!(matches!(connect(&name), Err(SocketError::Nobody(_))));
        let bound = bind(&name).unwrap();
        let stream = connect(&name).unwrap();
        let (_, pid) = bound.accept().unwrap().unwrap();
        assert!(pid.is_none_or(|pid| pid == std::process::id()));
        assert!(bound.accept().unwrap().is_none());
        drop(stream);
    }

    #[test]
    fn the_socket_is_for_its_user_alone() {
        let folder = folder();
        let bound = bind(&name(&folder)).unwrap();
        assert_eq!(bound.path().metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_directory_that_others_may_use_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder();
        let directory = folder.path().join("sidestep");
        make_private(&directory).unwrap();
        assert_eq!(directory.metadata().unwrap().mode() & 0o777, 0o700);
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(make_private(&directory), Err(SocketError::NotPrivate(_))));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        assert!(matches!(make_private(&link), Err(SocketError::NotPrivate(_))));
    }

    #[test]
    fn names_are_plain() {
        for wrong in ["", ".", "..", ".a", "a b", "ä", "a\0"] {
            assert!(matches!(path_of(wrong), Err(SocketError::Name(_))), "{wrong:?}");
        }
        assert!(path_of("images-2.b_c").unwrap().ends_with("images-2.b_c.sock"));
        assert_eq!(path_of("./x").unwrap(), Path::new("./x"));
    }
}
