//! Moments as the API writes them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A moment without its fraction of a second, as objects keep it.
pub(crate) fn whole_seconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

/// A moment as a field of an object.
pub(crate) fn time(moment: Timestamp) -> Time {
    Time(whole_seconds(moment))
}
