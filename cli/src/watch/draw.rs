//! The page as it is drawn. Pure.

use std::time::Duration;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::Line,
    widgets::{Block, List, Paragraph, Row, Sparkline, Table},
};

use super::model::{Model, Sort, millis};
use crate::{
    fleet::view::{FleetView, LeaseView},
    text,
};

/// Lines of the history of a lag, and of the events.
const HISTORY_LINES: u16 = 6;
const EVENT_LINES: u16 = 8;

/// Lags from which on a lease is shown in another colour.
const LATE: Duration = Duration::from_secs(60);
const VERY_LATE: Duration = Duration::from_secs(600);

pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let Some(view) = &model.view else { return };
    let workers = u16::try_from(view.workers.len()).unwrap_or(u16::MAX).saturating_add(2).min(8);
    let lines = [2, workers, 0, EVENT_LINES, 1]
        .map(|lines| if lines == 0 { Constraint::Min(4) } else { Constraint::Length(lines) });
    let [head, fleet, leases, events, foot] = Layout::vertical(lines).areas(frame.area());
    draw_head(frame, head, model, view);
    draw_workers(frame, fleet, view);
    match model.opened() {
        Some(lease) => draw_shard(frame, leases, model, lease),
        None => draw_leases(frame, leases, model),
    }
    let shown = model.events.iter().map(String::as_str);
    frame.render_widget(List::new(shown).block(Block::bordered().title("events")), events);
    let keys = if model.is_typing {
        format!("filter: {}_", model.filter)
    } else {
        "s sort  / filter  j k select  enter open  esc back  q quit".to_owned()
    };
    frame.render_widget(Paragraph::new(keys), foot);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, model: &Model, view: &FleetView) {
    let worst = view.leases.iter().filter_map(millis).max().map_or("unknown".to_owned(), lag_text);
    let leader = view.leader.as_deref().unwrap_or("nobody");
    let first = format!("{}  led by {leader}  worst lag {worst}  at {}", view.application, model.looked_at);
    let second = match &model.failure {
        Some(failure) => Line::styled(failure.clone(), Style::new().fg(Color::Red)),
        None => Line::raw(format!("{} leases, {} workers", view.leases.len(), view.workers.len())),
    };
    let first = Line::styled(first, Style::new().add_modifier(Modifier::BOLD));
    frame.render_widget(Paragraph::new(vec![first, second]), area);
}

fn draw_workers(frame: &mut Frame<'_>, area: Rect, view: &FleetView) {
    let row = |worker: &crate::fleet::view::WorkerView| {
        let age = worker.age_seconds.map_or("-".to_owned(), |age| text::duration(Duration::from_secs(age)));
        let cpu = worker.cpu_percent.map_or("-".to_owned(), |cpu| format!("{cpu:.0} %"));
        let style = if worker.is_stale { Style::new().fg(Color::Red) } else { Style::new() };
        let language = worker.language.unwrap_or("-").to_owned();
        Row::new([worker.id.clone(), worker.leases.to_string(), age, cpu, language]).style(style)
    };
    let widths = [
        Constraint::Min(20),
        Constraint::Length(8),
        Constraint::Length(12),
        Constraint::Length(8),
        Constraint::Length(8),
    ];
    let header = Row::new(["worker", "leases", "reported", "CPU", "language"]);
    let table = Table::new(view.workers.iter().map(row), widths)
        .header(header.style(Style::new().add_modifier(Modifier::BOLD)));
    frame.render_widget(table.block(Block::bordered()), area);
}

fn draw_leases(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let leases = model.leases();
    // The selected one is always within the page.
    let visible = usize::from(area.height.saturating_sub(3)).max(1);
    let first = model.selected.saturating_sub(visible - 1);
    let rows = leases.iter().enumerate().skip(first).map(|(place, lease)| {
        let lag = millis(lease).map_or("unknown".to_owned(), lag_text);
        let next = lease.next_owner.as_ref().map(|next| format!(" -> {next}")).unwrap_or_default();
        let owner = format!("{}{next}", lease.owner.as_deref().unwrap_or("-"));
        let style =
            if place == model.selected { lag_style(lease).add_modifier(Modifier::REVERSED) } else { lag_style(lease) };
        Row::new([lease.name(), owner, lag, lease.checkpoint.clone()]).style(style)
    });
    let sorted = match model.sort {
        Sort::Lag => "lag",
        Sort::Shard => "shard",
        Sort::Owner => "owner",
    };
    let filter = if model.filter.is_empty() { String::new() } else { format!(", with {}", model.filter) };
    let title = format!("{} leases by {sorted}{filter}", leases.len());
    let widths = [Constraint::Min(22), Constraint::Min(16), Constraint::Length(14), Constraint::Min(20)];
    let header = Row::new(["shard", "owner", "lag", "checkpoint"]).style(Style::new().add_modifier(Modifier::BOLD));
    frame.render_widget(Table::new(rows, widths).header(header).block(Block::bordered().title(title)), area);
}

fn draw_shard(frame: &mut Frame<'_>, area: Rect, model: &Model, lease: &LeaseView) {
    let [facts, history] = Layout::vertical([Constraint::Min(4), Constraint::Length(HISTORY_LINES)]).areas(area);
    let list = |ids: &[String]| if ids.is_empty() { "-".to_owned() } else { ids.join(", ") };
    let lines = [
        format!("owner       {}", lease.owner.as_deref().unwrap_or("-")),
        format!("lag         {}", millis(lease).map_or("unknown".to_owned(), lag_text)),
        format!("checkpoint  {}", lease.checkpoint),
        format!("pending     {}", lease.pending_checkpoint.as_deref().unwrap_or("-")),
        format!("counter     {}", lease.counter),
        format!("parents     {}", list(&lease.parents)),
        format!("children    {}", list(&lease.children)),
    ];
    let lines: Vec<Line<'_>> = lines.into_iter().map(Line::raw).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(lease.name())), facts);
    let lags = model.lags(&lease.key);
    let sparkline = Sparkline::default().data(&lags).block(Block::bordered().title("lag over time"));
    frame.render_widget(sparkline, history);
}

fn lag_text(millis: u64) -> String {
    text::duration(Duration::from_millis(millis))
}

fn lag_style(lease: &LeaseView) -> Style {
    match millis(lease).map(Duration::from_millis) {
        Some(lag) if lag >= VERY_LATE => Style::new().fg(Color::Red),
        Some(lag) if lag >= LATE => Style::new().fg(Color::Yellow),
        _ => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use ratatui::{Terminal, backend::TestBackend, crossterm::event::KeyCode};

    use super::{
        super::model::tests::{fleet, lease},
        *,
    };

    fn page(model: &Model) -> String {
        let mut terminal = Terminal::new(TestBackend::new(100, 30)).unwrap();
        terminal.draw(|frame| draw(frame, model)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn shows_workers_leases_by_lag_and_events() {
        let mut model = Model::default();
        model.take(fleet(&["w1"], vec![lease("s0", "w1", 500), lease("s1", "w1", 90_000)]), SystemTime::UNIX_EPOCH);
        model.take(
            fleet(&["w1", "w2"], vec![lease("s0", "w2", 500), lease("s1", "w1", 90_000)]),
            SystemTime::UNIX_EPOCH,
        );

        let page = page(&model);

        for expected in
            ["printer  led by w1  worst lag 1 min 30 s", "2 leases by lag", "s0 moved from w1 to w2", "12 %", "q quit"]
        {
            assert!(page.contains(expected), "no {expected} in\n{page}");
        }
        let place = |text: &str| page.find(text).unwrap();
        assert!(place("│s1") < place("│s0"), "{page}");
    }

    #[test]
    fn shows_an_opened_shard_with_its_history_and_failures() {
        let mut model = Model::default();
        model.take(fleet(&["w1"], vec![lease("s0", "w1", 500)]), SystemTime::UNIX_EPOCH);
        model.failed(&crate::failure::Failure::new("the table is throttled", "wait"));
        model.press(KeyCode::Enter);

        let page = page(&model);

        for expected in ["lag over time", "checkpoint  TRIM_HORIZON", "the table is throttled: wait"] {
            assert!(page.contains(expected), "no {expected} in\n{page}");
        }
    }
}
