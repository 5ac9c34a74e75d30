//! The folder that outlives a run: unpacked binaries and initialised data directories. Test processes share it, so every
//! entry is made under a lock, beside its place, and moved there in one step.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::TestbedError;
use crate::account::Account;

/// The cache folder, made if need be: `PGLANES_CACHE`, else for root `/var/cache/pglanes` (a home folder is closed to the
/// account that PostgreSQL then runs as), else the user's own cache folder, else one in the temporary folder.
pub(crate) fn folder(account: Account) -> Result<PathBuf, TestbedError> {
    if let Some(named) = std::env::var_os("PGLANES_CACHE") {
        let named =
            std::path::absolute(&named).map_err(TestbedError::file("find", Path::new(&named)))?;
        fs::create_dir_all(&named).map_err(TestbedError::file("make the cache folder", &named))?;
        return Ok(named);
    }
    let temporary = std::env::temp_dir().join(format!("pglanes-cache-{}", account.user_id()));
    let usable = |folder: &PathBuf| {
        fs::create_dir_all(folder).is_ok() && account.can_reach(folder) && is_writable(folder)
    };
    match places(account).into_iter().find(usable) {
        Some(folder) => Ok(folder),
        None => {
            fs::create_dir_all(&temporary)
                .map_err(TestbedError::file("make the cache folder", &temporary))?;
            Ok(temporary)
        }
    }
}

/// Where a cache belongs on this system, best first.
fn places(account: Account) -> Vec<PathBuf> {
    if account != Account::Own {
        return vec![PathBuf::from("/var/cache/pglanes")];
    }
    let home = std::env::var_os("HOME").map(PathBuf::from);
    if cfg!(target_os = "macos") {
        return home
            .map(|home| home.join("Library/Caches/pglanes"))
            .into_iter()
            .collect();
    }
    let named = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute());
    named
        .into_iter()
        .chain(home.map(|home| home.join(".cache")))
        .map(|folder| folder.join("pglanes"))
        .collect()
}

/// Whether a file can be made in a folder.
fn is_writable(folder: &Path) -> bool {
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    let made = File::create(&probe).is_ok();
    // A probe left behind does no harm: the next one overwrites it.
    let _ = fs::remove_file(&probe);
    made
}

/// Gives `folder/name`, making it by `make` (which fills the empty folder it is given) if it is not there yet. Processes and
/// threads that ask at once wait for the one that makes it; one that dies half-way leaves no half-made entry.
pub(crate) fn entry(
    folder: &Path,
    name: &str,
    make: impl FnOnce(&Path) -> Result<(), TestbedError>,
) -> Result<PathBuf, TestbedError> {
    let place = folder.join(name);
    if place.exists() {
        return Ok(place);
    }
    let _lock = lock(&folder.join(format!("{name}.lock")))?;
    if place.exists() {
        return Ok(place);
    }
    let half = folder.join(format!("{name}.half"));
    if half.exists() {
        fs::remove_dir_all(&half).map_err(TestbedError::file("remove", &half))?;
    }
    fs::create_dir_all(&half).map_err(TestbedError::file("make", &half))?;
    make(&half)?;
    fs::rename(&half, &place).map_err(TestbedError::file("move into place", &place))?;
    Ok(place)
}

/// Takes the lock of a file, waiting for it. Dropping the file gives it back, as does the end of the process.
pub(crate) fn lock(path: &Path) -> Result<File, TestbedError> {
    let file = File::create(path).map_err(TestbedError::file("open the lock", path))?;
    file.lock().map_err(TestbedError::file("lock", path))?;
    Ok(file)
}

/// The same without waiting: `None` where somebody has it.
pub(crate) fn try_lock(path: &Path) -> Result<Option<File>, TestbedError> {
    let file = File::create(path).map_err(TestbedError::file("open the lock", path))?;
    Ok(file.try_lock().is_ok().then_some(file))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn an_entry_is_made_once_however_many_ask_and_a_half_made_one_is_made_again() {
        let folder = std::env::temp_dir().join(format!("pglanes-entry-{}", std::process::id()));
        fs::create_dir_all(folder.join("thing.half/rubbish")).unwrap();
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let place = entry(&folder, "thing", |half| {
                        made.fetch_add(1, Ordering::SeqCst);
                        File::create(half.join("content"))
                            .map_err(TestbedError::file("make", half))?;
                        Ok(())
                    })
                    .unwrap();
                    assert!(place.join("content").exists());
                    assert!(!place.join("rubbish").exists());
                });
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
