//! With `--cfg sidestep_borrowed` each pool borrows its workers from a server in the same process, so that everything that
//! tests pools tests borrowed workers too.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::error::PoolError;
use crate::process::Program;

use super::server::{Offer, Server};

/// A server without a pool ends after so long.
const IDLE: Duration = Duration::from_secs(2);

/// Starts a server of this program's own jobs; its name.
pub(crate) fn start(workers: usize) -> Result<String, PoolError> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let file = format!("sidestep-{}-{number}.sock", std::process::id());
    let name = std::env::temp_dir().join(file).to_string_lossy().into_owned();
    let failed = |message: String| PoolError::Server { name: name.clone(), message };
    let offer = Offer { name: name.clone(), workers, program: Program::Image, idle: Some(IDLE) };
    let server = Server::new(offer).map_err(|error| failed(error.to_string()))?;
    let (stop, stopper) = std::io::pipe().map_err(|error| failed(error.to_string()))?;
    let (sender, ready) = std::sync::mpsc::channel();
    let serve = move || {
        let _stopper = stopper;
        let served = server.run(stop.as_fd(), |_| {
            let _ = sender.send(());
        });
        if let Err(error) = served {
            eprintln!("the server beside the pool: {error}");
        }
    };
    std::thread::Builder::new()
        .name("sidestep-server".into())
        .spawn(serve)
        .map_err(|error| failed(error.to_string()))?;
    ready.recv().map_err(|_| failed("its workers do not start".into()))?;
    Ok(name)
}
