//! A test of libtest-mimic: skipped with a reason, or run in namespaces of its own.

use libtest_mimic::{Completion, Failed, Trial};

use super::isolated;

/// A test's name and what it does.
pub type Test = (&'static str, fn());

/// A test that is ignored if something is missing, with the reason.
pub fn trial((name, run): Test, missing: Option<String>) -> Trial {
    let skipped = missing.is_some();
    let runner = move || match missing {
        Some(reason) => Ok(Completion::ignored_with(reason)),
        None => on_a_thread(name, run),
    };
    Trial::ignorable_test(name, runner).with_ignored_flag(skipped)
}

/// Runs a test on a thread of its name, which a panic's message then shows, in namespaces.
fn on_a_thread(name: &str, run: fn()) -> Result<Completion, Failed> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    let result = thread.spawn(move || isolated(run))?.join();
    match result {
        Ok(()) => Ok(Completion::Completed),
        Err(panic) => Err(match panic.downcast::<String>() {
            Ok(message) => Failed::from(*message),
            Err(panic) => match panic.downcast::<&str>() {
                Ok(message) => Failed::from(*message),
                Err(_) => Failed::without_message(),
            },
        }),
    }
}
