# QK Atlas as a container: the page on port 8501, runs in the volume /runs, no root. It writes to /runs and /tmp only:
#   docker run -p 8501:8501 -v runs:/runs --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges qk-atlas
FROM python:3.11-slim

RUN useradd --no-create-home --uid 1000 atlas && mkdir /runs && chown atlas /runs
WORKDIR /app
COPY requirements.txt .
# For a small image without CUDA: --build-arg TORCH_OPTIONS="--index-url <index of PyTorch's CPU builds>".
ARG TORCH_OPTIONS=""
RUN pip install --no-cache-dir $TORCH_OPTIONS "$(grep '^torch==' requirements.txt)"
RUN pip install --no-cache-dir -r requirements.txt
COPY pyproject.toml LICENSE README.md ./
COPY .streamlit .streamlit
COPY analysis analysis
COPY app app
COPY data/demo data/demo
# By number, so that a host which demands "no root" can see that it is none.
USER 1000
ENV QK_ATLAS_RUNS=/runs HF_HOME=/runs/.huggingface NUMBA_CACHE_DIR=/tmp/numba HOME=/tmp PYTHONDONTWRITEBYTECODE=1
# The bundled runs are made at build time, so that the page opens on something at once.
RUN python -m analysis extract --model demo-language --data demo-sentences \
    && python -m analysis extract --model demo-vision --data demo-scenes
VOLUME /runs
EXPOSE 8501
HEALTHCHECK CMD python -c "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=3)"
CMD ["python", "-m", "analysis", "serve", "--address", "0.0.0.0", "--port", "8501", "--headless"]
