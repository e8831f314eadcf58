"""What a person was told, how they want to be told, and the mails that could not be sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from core import inbox, mail, preferences
from core.access import can
from core.models import Notification, NotificationPreference, Topic, User
from core.notifications import mark_read
from core.pages.forms import HouseForm, attempt, bind, perform, say_choices
from core.pages.lists import Choice, Listing, ListPlan, read_list
from core.pages.panels import QueueItem, queue_source
from core.pages.readers import HouseRequest, reads, reads_within

PAGE_SIZE, MOST_FAILED = 30, 100
CHOICES = [
    (preferences.AS_IT_COMES, "As usual"),
    *NotificationPreference.Mail.choices,
]


NOTIFICATIONS = ListPlan(
    columns=(),
    search=("title", "text"),
    searched=_("Words"),
    choices=(
        Choice(name="topic", title=_("About"), every=_("Everything"), field="topic", options=tuple(Topic.choices)),
        Choice(name="urgency", title=_("Urgency"), every=_("Any"), field="urgency",
               options=tuple(Notification.Urgency.choices)),
    ),
    size=PAGE_SIZE,
)  # fmt: skip


@require_safe
@reads_within
def notifications(request: HouseRequest) -> HttpResponse:
    """What is unread first, and the newest first in both."""
    listing: Listing[Notification] = read_list(request.GET, inbox.inbox(request.user), NOTIFICATIONS)
    return render(request, "core/notifications.html", {"listing": listing})


@require_GET
@reads_within
def notification(request: HouseRequest, pk: int) -> HttpResponse:
    """Go to what a notification is about. It is read then: this is where the links in mails lead, too."""
    row = Notification.objects.filter(pk=pk, recipient=request.user).first()
    if row is None:
        raise Http404("There is no such notification, or it is somebody else's.")
    mark_read(by=request.user, pks=[row.pk])
    return redirect(row.href or "notifications")


@require_POST
@reads_within
def read(request: HouseRequest) -> HttpResponseRedirect:
    """Mark one of a person's notifications as read, or all of them, and stay where they are in the list."""
    named = [int(pk) for pk in request.POST.getlist("notification") if pk.isascii() and pk.isdecimal() and len(pk) < 19]
    mark_read(by=request.user, pks=None if "all" in request.POST else named)
    kept = urlencode(
        {name: request.POST.get(name, "") for name in ("q", "topic", "urgency", "page") if name in request.POST}
    )
    return HttpResponseRedirect(f"{reverse('notifications')}?{kept}")


def _installed() -> str:
    """The language of the installation, by its own name."""
    return str(dict(settings.LANGUAGES).get(settings.LANGUAGE_CODE, settings.LANGUAGE_CODE))


class PreferencesForm(HouseForm):
    """One choice for each topic, and when the digest comes."""

    digest_hour = forms.TypedChoiceField(
        label="Hour of the daily digest",
        coerce=int,
        choices=[(hour, f"{hour:02d}:00") for hour in preferences.HOURS],
        help_text="It comes once a day, and only when there is something to say.",
    )
    time_zone = forms.ChoiceField(
        label="Your time zone",
        required=False,
        choices=lambda: [
            ("", gettext("That of the installation (%(TIME_ZONE)s)") % {"TIME_ZONE": settings.TIME_ZONE}),
            *((name, name.replace("_", " ")) for name in preferences.zones()),
        ],
        help_text="The hour of the digest is read in it.",
    )

    language = forms.ChoiceField(
        label="Language of e-mails",
        required=False,
        choices=lambda: [
            ("", gettext("That of the installation (%(name)s)") % {"name": _installed()}),
            *settings.LANGUAGES,
        ],
        help_text="It follows the language that you choose for pages while you are signed in.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        by_topic = {
            f"topic_{topic}": forms.ChoiceField(label=label, required=False, choices=CHOICES)
            for topic, label in Topic.choices
        }
        for field in by_topic.values():
            say_choices(field)
        self.fields = by_topic | self.fields

    @property
    def by_topic(self) -> list[forms.BoundField]:
        return [self[f"topic_{topic}"] for topic in Topic.values]

    @property
    def of_digest(self) -> list[forms.BoundField]:
        return [self["digest_hour"], self["time_zone"], self["language"]]

    def clean(self) -> dict[str, Any]:
        """The choices of the topics as one mapping, as the service takes them."""
        values = dict(super().clean() or self.cleaned_data)
        chosen = {topic: values.pop(f"topic_{topic}", "") for topic in Topic.values}
        return {**values, "chosen": chosen}


@require_http_methods(["GET", "HEAD", "POST"])
@reads_within
def notification_preferences(request: HouseRequest) -> HttpResponse:
    user = request.user
    kept: dict[str, Any] = {f"topic_{topic}": chosen for topic, chosen in preferences.chosen_by(user).items()}
    kept |= {"digest_hour": user.digest_hour, "time_zone": user.time_zone, "language": user.language}
    form = bind(PreferencesForm, request, **kept)
    if request.method == "POST":
        done = attempt(form, lambda **values: preferences.set_preferences(by=user, **values) or True)
        if done:
            return perform(request, lambda: None, done="Your choices are kept.", back=request.path)
    local = timezone.now().astimezone(preferences.zone_of(user))
    context = {"form": form, "mail_is_on": mail.mail_is_on(), "address": user.email, "now": f"{local:%H:%M}"}
    return render(request, "core/notification_preferences.html", context, status=form.status)


@require_safe
@reads
def failed_mails(request: HouseRequest) -> HttpResponse:
    mail.check_may_see_to_mail(request.user)
    context = {
        "rows": inbox.failed_mails(MOST_FAILED),
        "total": inbox.failed_count(),
        "permission": can(mail.check_may_see_to_mail, request.user),
        "again": reverse("failed-mails-again"),
        "leave": reverse("failed-mails-leave"),
    }
    return render(request, "core/failed_mails.html", context)


@require_POST
@reads
def failed_mails_again(request: HouseRequest) -> HttpResponse:
    back = reverse("failed-mails")
    return perform(request, lambda: mail.send_failed_again(by=request.user), done="They are sent again.", back=back)


@require_POST
@reads
def failed_mails_leave(request: HouseRequest) -> HttpResponse:
    done = "They are not sent. People still find in the app what they were told."
    return perform(request, lambda: mail.leave_failed(by=request.user), done=done, back=reverse("failed-mails"))


@queue_source
def mails_to_see_to(user: User) -> Iterator[QueueItem]:
    """Administrators are told of mails that could not be sent."""
    if not can(mail.check_may_see_to_mail, user):
        return
    since, number = inbox.failed_since(), inbox.failed_count()
    if since is not None:
        yield QueueItem(
            title="1 e-mail could not be sent"
            if number == 1
            else gettext("%(number)s e-mails could not be sent") % {"number": number},
            why="People were told in the app only, and contacts outside not at all.",
            href=reverse("failed-mails"),
            since=since,
            tone="fail",
            word="Not sent",
        )
