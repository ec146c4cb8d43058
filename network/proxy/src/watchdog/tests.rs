use std::future::poll_fn;

use super::*;

async fn fired(watchdog: &mut Watchdog) -> Duration {
    let begun = Instant::now();
    poll_fn(|cx| watchdog.poll(cx)).await;
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn it_fires_so_long_after_the_last_restart() {
    let second = Duration::from_secs(1);
    let mut watchdog = Watchdog::new(10 * second);
    // Polled once, the timer is set; the restart must move it all the same.
    assert!(tokio::time::timeout(4 * second, fired(&mut watchdog)).await.is_err());
    watchdog.restart();
    let late = fired(&mut watchdog).await;
    assert!((10 * second..11 * second).contains(&late), "{late:?}");
    watchdog.restart_with(60 * second);
    assert!(tokio::time::timeout(second, fired(&mut watchdog)).await.is_err());
    watchdog.restart_with(2 * second);
    let soon = fired(&mut watchdog).await;
    assert!((2 * second..3 * second).contains(&soon), "{soon:?}");
}
