"""What can be done about users: create, change and anonymise them, and move money between them."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import marshmallow
from aiohttp import web
from marshmallow import fields

from rowlock.accounts import names
from rowlock.accounts.names import EMAIL_LENGTH, PERSON_LENGTH, USERNAME_LENGTH
from rowlock.accounts.rules import (
    BALANCE_LIMIT,
    AnonymiseUser,
    ChangeUser,
    Person,
    RegisterUser,
)
from rowlock.console import Features, reads
from rowlock.console.users import find_person
from rowlock.errors import InvalidRequest
from rowlock.http.access import origin_of
from rowlock.http.fields import REFERENCE_LENGTH, CheckedText, QueryInteger, Text
from rowlock.http.request import path_id
from rowlock.pages.declaring import Pages, page
from rowlock.pages.fields import Amount
from rowlock.pages.forms import KEY, Form, load, read_form
from rowlock.pages.frames import Frame
from rowlock.pages.templates import show_money
from rowlock.rejections import UserNotFound
from rowlock.transfers.rules import LABEL_LENGTH, MakeTransfer, Transfer

PROFILE = ("email", "first_name", "last_name")  # what may be changed


class ProfileForm(marshmallow.Schema):
    """What is known of a user. What is left empty is removed."""

    email = CheckedText(names.email_problem, longest=EMAIL_LENGTH, load_default=None)
    first_name = CheckedText(names.person_problem, longest=PERSON_LENGTH, load_default="")
    last_name = CheckedText(names.person_problem, longest=PERSON_LENGTH, load_default="")


class ChangeForm(ProfileForm):
    """A profile, and how it was when its form was made: what is still so is not changed."""

    was_email = fields.String(load_default="")
    was_first_name = fields.String(load_default="")
    was_last_name = fields.String(load_default="")


class CreateForm(ProfileForm):
    """A new user."""

    username = CheckedText(
        names.problem,
        longest=USERNAME_LENGTH,
        required=True,
        error_messages={"required": "Enter a username."},
    )


class TransferForm(marshmallow.Schema):
    """Whom a user pays, and for what."""

    to = QueryInteger(required=True, error_messages={"required": "Enter the id of a user."})
    label = Text(
        longest=LABEL_LENGTH, required=True, error_messages={"required": "Say what it is for."}
    )
    reference = Text(longest=REFERENCE_LENGTH, load_default=None)


CHANGE_FORM = ChangeForm()


class UserFormPages(Pages):
    """Forms about users."""

    def __init__(self, frame: Frame, features: Features) -> None:
        self._frame = frame
        self._features = features
        money = frame.settings.money
        amount = partial(Amount, money.decimals, maximum=BALANCE_LIMIT)
        self._create_form = CreateForm.from_dict({"opening_balance": amount(load_default=0)})()
        needed = {"required": "Enter an amount."}
        self._transfer_form = TransferForm.from_dict(
            {"amount": amount(required=True, error_messages=needed)}
        )()

    @page("GET", "/users/new")
    async def ask_create(self, request: web.Request) -> web.StreamResponse:
        """Ask who is to be a user."""
        return await self._show_create(request, Form({}, {}))

    @page("POST", "/users/new")
    async def create(self, request: web.Request) -> web.StreamResponse:
        """Create a user."""
        form = await read_form(request, self._create_form)
        if form.errors:
            return await self._show_create(request, form, status=400, key=form.key)
        values = {**form.values, "email": _normalise(form.values["email"])}
        return await self._frame.act(
            request,
            form,
            self._features.accounts.register,
            RegisterUser(**values, origin=origin_of(request)),
            to=lambda person: f"/users/{person.id}",
            tells=lambda person: f"User {person.id} was created.",  # no names: it is kept
            again=partial(self._show_create, request, form, 409),
        )

    async def _show_create(
        self,
        request: web.Request,
        form: Form,
        status: int = 200,
        problem: str = "",
        key: str | None = None,
    ) -> web.Response:
        return await self._frame.show(
            request,
            "console/user_new.html",
            status=status,
            place="users",
            title="New user",
            what="The account opens with this balance. An event reports it, without the names.",
            button="Create",
            is_calm=True,
            action="/users/new",
            back="/users",
            key=key,
            form=form,
            problem=problem,
        )

    @page("GET", "/users/{id}/change")
    async def ask_change(self, request: web.Request) -> web.StreamResponse:
        """Ask what to change of a user."""
        person = await find_person(request, self._features)
        given = {name: getattr(person, name) or "" for name in PROFILE}
        was = {f"was_{name}": text for name, text in given.items()}
        return await self._show_change(request, Form({**given, **was}, {}))

    @page("POST", "/users/{id}/change")
    async def change(self, request: web.Request) -> web.StreamResponse:
        """Change a user's address, first or last name."""
        user_id = path_id(request, UserNotFound)
        form = await read_form(request, CHANGE_FORM)
        if form.errors:
            return await self._show_change(request, form, status=400, key=form.key)
        values: dict[str, str | None] = {
            name: form.values[name]
            for name in PROFILE
            if (form.values[name] or "") != form.values[f"was_{name}"]
        }
        if "email" in values:
            values["email"] = _normalise(values["email"])
        return await self._frame.act(
            request,
            form,
            self._features.accounts.change,
            ChangeUser(user_id, values, origin_of(request)),
            to=f"/users/{user_id}",
            tells=lambda changed: f"User {changed.id} was changed.",
            again=partial(self._show_change, request, form, 409),
        )

    async def _show_change(
        self,
        request: web.Request,
        form: Form,
        status: int = 200,
        problem: str = "",
        key: str | None = None,
    ) -> web.Response:
        user_id = path_id(request, UserNotFound)
        return await self._frame.show(
            request,
            "console/user_change.html",
            status=status,
            place="users",
            title=f"Change user {user_id}",
            what="What is left empty is removed. The username stays as it is.",
            button="Change",
            is_calm=True,
            action=request.path,
            back=f"/users/{user_id}",
            key=key,
            form=form,
            problem=problem,
        )

    @page("GET", "/users/{id}/anonymise")
    async def ask_anonymise(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to remove a user's names and address for good."""
        return await self._show_anonymise(request, Form({}, {}))

    @page("POST", "/users/{id}/anonymise")
    async def anonymise(self, request: web.Request) -> web.StreamResponse:
        """Remove a user's names and address for good."""
        user_id = path_id(request, UserNotFound)
        form = await read_form(request)
        if form.given.get("confirm", "").strip() != str(user_id):
            wrong = Form(form.given, form.lists, {}, {"confirm": f"Enter {user_id}."})
            return await self._show_anonymise(request, wrong, status=400, key=form.key)
        return await self._frame.act(
            request,
            form,
            self._features.accounts.anonymise,
            AnonymiseUser(user_id, origin_of(request)),
            to=f"/users/{user_id}",
            tells=lambda person: f"User {person.id} has no names and no address any more.",
        )

    async def _show_anonymise(
        self, request: web.Request, form: Form, *, status: int = 200, key: str | None = None
    ) -> web.StreamResponse:
        person = await find_person(request, self._features)
        return await self._frame.show(
            request,
            "console/user_anonymise.html",
            status=status,
            place="users",
            title=f"Anonymise {person.username}?",
            what=f"This removes the username, the address and the names of 1 user, number "
            f"{person.id}, for good: here, in kept answers, and in events that are on their way. "
            "The account, its balance, its ledger and its documents stay.",
            button="Remove them for good",
            action=request.path,
            back=f"/users/{person.id}",
            key=key,
            form=form,
            person=person,
        )

    @page("GET", "/users/{id}/transfer")
    async def ask_transfer(self, request: web.Request) -> web.StreamResponse:
        """Ask whom a user pays; with that in the query, whether it is right."""
        person = await find_person(request, self._features)
        given = dict(request.rel_url.query)
        if not given:
            return await self._show_transfer(request, person, Form({}, {}))
        entered = {name: text for name, text in given.items() if name != KEY}
        values, errors = load(self._transfer_form, entered)
        return await self._check_transfer(request, person, Form(given, {}, values, errors))

    async def _check_transfer(
        self, request: web.Request, person: Person, form: Form
    ) -> web.StreamResponse:
        """Show who would pay whom, or what is wrong with it."""
        payee = None
        if not form.errors:
            find = partial(reads.find_person, user_id=form.values["to"])
            payee = await self._features.main.read(find, is_fresh=True)
        problem = _problem_of(person, form, payee)
        if problem:
            wrong = Form(form.given, {}, {}, {**form.errors, **problem})
            return await self._show_transfer(request, person, wrong, status=400)
        assert payee is not None
        return await self._frame.show(
            request,
            "console/transfer_confirm.html",
            place="users",
            title=f"Transfer {self._amount(form.values['amount'])}?",
            what="It is posted at once, to 2 accounts. It can't be undone, only transferred back.",
            button="Transfer",
            action=request.path,
            back=f"/users/{person.id}/transfer",
            # Drawn for the page before: one who comes back to this one transfers no second time.
            key=_key_of(form),
            form=form,
            person=person,
            payee=payee,
        )

    @page("POST", "/users/{id}/transfer")
    async def transfer(self, request: web.Request) -> web.StreamResponse:
        """Let a user pay another one."""
        person = await find_person(request, self._features)
        form = await read_form(request, self._transfer_form)
        if form.errors or form.values["to"] == person.id:
            return await self._check_transfer(request, person, form)
        values = dict(form.values)
        command = MakeTransfer(
            person.id,
            values["to"],
            values["amount"],
            values["label"],
            origin_of(request),
            values["reference"],
        )
        return await self._frame.act(
            request,
            form,
            self._features.transfers.make,
            command,
            to=lambda made: f"/transfers/{made.id}",
            tells=self._tell_transfer,
            again=partial(self._show_transfer, request, person, form, 409),
        )

    async def _show_transfer(
        self,
        request: web.Request,
        person: Person,
        form: Form,
        status: int = 200,
        problem: str = "",
    ) -> web.Response:
        return await self._frame.show(
            request,
            "console/transfer_new.html",
            status=status,
            place="users",
            person=person,
            form=form,
            problem=problem,
        )

    def _tell_transfer(self, made: Transfer) -> str:
        shown = self._amount(made.amount)
        return f"Transferred {shown} from user {made.from_user_id} to user {made.to_user_id}."

    def _amount(self, amount: int) -> str:
        money = self._frame.settings.money
        return f"{show_money(amount, money.decimals)} {money.currency}"


def _key_of(form: Form) -> str | None:
    """Return the key that a form has brought along; None for one that is to be drawn."""
    try:
        return form.key
    except InvalidRequest:
        return None


def _problem_of(person: Person, form: Form, payee: Person | None) -> Mapping[str, Any]:
    """Return what is wrong with a transfer besides what its fields say, by field."""
    if form.errors:
        return form.errors
    if form.values["to"] == person.id:
        return {"to": "Must be another user."}
    if payee is None:
        return {"to": f"There is no user {form.values['to']}."}
    return {}


def _normalise(email: str | None) -> str | None:
    return None if email is None else names.normalise(email)
