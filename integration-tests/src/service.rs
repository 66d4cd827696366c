//! AWS itself as what tests are run against, with the care that an account asks for.
//!
//! A run shows the [`Place`] it would work in and has it typed back ([`require_consent`]). All it makes has one [`Prefix`]; a
//! [`Guard`] in its clients refuses every call that names anything else, and stops it at a cap on stream hours.
//! [`clean_up()`] deletes what has the prefix, however the run ended. [`trial()`] is all of it around one test.
//!
//! | file | contents |
//! |---|---|
//! | `prefix.rs` `named.rs` `ruling.rs` `ledger.rs` `consent.rs` | decisions: names, what a request may do, hours, consent |
//! | `clients.rs` `guard.rs` `place.rs` `clean_up.rs` `signals.rs` `trial.rs` | configuration, clients, and what they call |

mod clean_up;
mod clients;
mod consent;
mod guard;
mod ledger;
mod named;
mod place;
mod prefix;
mod ruling;
mod signals;
mod trial;

pub use self::clean_up::{CLEAN_UP_TIME, CleanUp, clean_up, delete_made, leftovers};
pub use self::clients::{Clients, config, endpoints};
pub use self::consent::require_consent;
pub use self::guard::Guard;
pub use self::ledger::Totals;
pub use self::place::{Place, find};
pub use self::prefix::{NoPrefix, Prefix};
pub use self::signals::stop_signal;
pub use self::trial::trial;
