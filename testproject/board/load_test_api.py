"""JSON for load tests: write, and ask whether it can be read back.

Reachable with ``LOAD_TEST_API=1`` alone, because it takes posts without CSRF protection. Each view is there
twice, the second time for the event loop. Reads obey ``?level=``, take their time with ``?sleep=`` (so
many seconds are slept by the database), and go where ``?using=`` says.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.core.exceptions import BadRequest
from django.db import connection
from django.db.models import Func, QuerySet, TextField, Value
from django.http import Http404, HttpRequest, JsonResponse
from django.shortcuts import aget_object_or_404, get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from board.forms import ReplyForm, ThreadForm
from board.models import Post, Thread
from django_rwrouter import consistency

SLEEP_FUNCTIONS = {"mysql": "SLEEP", "postgresql": "pg_sleep"}


@csrf_exempt
@require_POST
def create_thread(request: HttpRequest) -> JsonResponse:
    """Start a thread: ``{"title": ..., "author": ..., "text": ...}`` gives ``{"id": ...}``."""
    form = ThreadForm(_json(request))
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    data = form.cleaned_data
    thread = Thread.objects.create(title=data["title"], author=data["author"])
    thread.posts.create(author=data["author"], text=data["text"])
    return JsonResponse({"id": thread.pk}, status=201)


@csrf_exempt
@require_POST
def create_post(request: HttpRequest) -> JsonResponse:
    """Write a post: ``{"thread": id, "author": ..., "text": ...}`` gives ``{"id": ...}``."""
    new = _new_post(request)
    if isinstance(new, JsonResponse):
        return new
    thread = get_object_or_404(Thread, pk=new.thread_id)
    post = thread.posts.create(author=new.author, text=new.text)
    return JsonResponse({"id": post.pk}, status=201)


@csrf_exempt
@require_POST
async def acreate_post(request: HttpRequest) -> JsonResponse:
    """Write a post from the event loop."""
    new = _new_post(request)
    if isinstance(new, JsonResponse):
        return new
    thread = await aget_object_or_404(Thread, pk=new.thread_id)
    post = await thread.posts.acreate(author=new.author, text=new.text)
    return JsonResponse({"id": post.pk}, status=201)


@require_safe
def post(request: HttpRequest, pk: int) -> JsonResponse:
    """Return one post; 404 where the database that was asked has not seen it."""
    with _level(request):
        return _post_response(get_object_or_404(_posts(request), pk=pk))


@require_safe
async def apost(request: HttpRequest, pk: int) -> JsonResponse:
    """Return one post from the event loop."""
    with _level(request):
        return _post_response(await aget_object_or_404(_posts(request), pk=pk))


@require_safe
def latest_post(request: HttpRequest) -> JsonResponse:
    """Return the newest post of ``?author=``; 404 where there is none."""
    with _level(request):
        return _post_response(_by_author(request).first())


@require_safe
async def alatest_post(request: HttpRequest) -> JsonResponse:
    """Return it from the event loop."""
    with _level(request):
        return _post_response(await _by_author(request).afirst())


def _level(request: HttpRequest) -> AbstractContextManager[object]:
    level = request.GET.get("level")
    return consistency(level) if level else nullcontext()


def _posts(request: HttpRequest) -> QuerySet[Post]:
    posts: QuerySet[Post] = Post.objects.using(request.GET.get("using"))
    if "sleep" not in request.GET:
        return posts
    seconds = Value(float(request.GET["sleep"]))
    slept = Func(seconds, function=SLEEP_FUNCTIONS[connection.vendor], output_field=TextField())
    slow: QuerySet[Post] = posts.annotate(slept=slept)
    return slow


def _by_author(request: HttpRequest) -> QuerySet[Post]:
    by_author: QuerySet[Post] = _posts(request).filter(author=request.GET.get("author", "")).order_by("-pk")
    return by_author


def _post_response(found: Post | None) -> JsonResponse:
    if found is None:
        raise Http404("No such post.")
    return JsonResponse(
        {"id": found.pk, "thread": found.thread_id, "author": found.author, "text": found.text}
    )


def _new_post(request: HttpRequest) -> Post | JsonResponse:
    """Return the post that is to be written, or what is wrong with it."""
    data = _json(request)
    form = ReplyForm(data)
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    if not isinstance(data.get("thread"), int):
        return JsonResponse({"errors": {"thread": ["A thread's id is needed."]}}, status=400)
    written = form.cleaned_data
    return Post(thread_id=data["thread"], author=written["author"], text=written["text"])


def _json(request: HttpRequest) -> dict[str, Any]:
    try:
        data = json.loads(request.body)
    except ValueError as error:
        raise BadRequest("The body is not JSON.") from error
    if not isinstance(data, dict):
        raise BadRequest("The body is not a JSON object.")
    return data
